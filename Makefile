# make          builds ./duet, and libduet_cuda.so beside it where nvcc and cuDNN are
# make check    installs what is missing, builds, runs every test through prove
# make demo     packs emoji, pretrains two small towers on them, evaluates (about five minutes)
# make cuda     builds libduet_cuda.so alone
# make gpu-check  builds the CUDA backend for the GPU that is there, tests and measures it (tests/gpu/check.sh)
# make parity   compares with open_clip and transformers, in a virtual environment of its own (tests/parity/README.md)
# make fuzz     feeds damaged files to the readers of weights and vocabularies (clang's libFuzzer; FUZZ_SECONDS each)
# Variables: SANITIZE=1 (address, undefined) or SANITIZE=thread; TESTS="tests/x.c ..." for some tests;
#            ARCH=x86-64-v3 for a binary that travels;
#            ONEDNN=DIR to build against oneDNN in DIR/include and DIR/lib;
#            NVCC=FILE for another CUDA compiler, NVCC= for none; CPATH and LIBRARY_PATH lead to a cuDNN elsewhere

ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc)
endif
CC      ?= gcc
ROOMS    = kernels kernels/ops kernels/cpu encoders losses data eval eval/report experiments
WARN     = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror
# What an initialiser does not name is zero, and means none.
WARN    += -Wno-missing-field-initializers
WARN    += $(if $(findstring clang,$(CC)),-Wno-pass-failed)
CFLAGS  ?= $(if $(SANITIZE),-O1,-O3) -g
ARCH    ?= native
DUET_CFLAGS = -std=gnu11 -march=$(ARCH) -fopenmp -fno-math-errno -fno-trapping-math -I. -MMD -MP $(WARN)
PACKAGES = jansson lmdb libjpeg libpng harfbuzz libutf8proc libpcre2-8 zlib
DUET_CFLAGS += $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
LIBS     = $(shell pkg-config --libs $(PACKAGES) 2>/dev/null) -ldnnl -llbfgs -lm -lpthread

BUILD = build/release
ifeq ($(SANITIZE),1)
BUILD = build/asan
DUET_CFLAGS += -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
else ifeq ($(SANITIZE),thread)
BUILD = build/tsan
DUET_CFLAGS += -fsanitize=thread -fno-omit-frame-pointer
endif
ifdef ONEDNN
DUET_CFLAGS += -isystem $(ONEDNN)/include
LIBS := -L$(ONEDNN)/lib -Wl,-rpath,$(ONEDNN)/lib $(LIBS)
endif

SOURCES  = $(filter-out experiments/duet.c,$(wildcard $(ROOMS:=/*.c)))
OBJECTS  = $(SOURCES:%.c=$(BUILD)/%.o) $(BUILD)/cpu_families.o $(BUILD)/presets.o
FAMILIES = $(patsubst kernels/ops/%.c,%,$(wildcard kernels/ops/*.c))
SIMULATOR := $(shell command -v $(CXX) 2>/dev/null)
TESTS   ?= $(wildcard tests/*.c) $(if $(SIMULATOR),$(wildcard tests/*.cpp))
PROGRAMS = $(addprefix $(BUILD)/,$(basename $(TESTS)))
SCRIPTS  = $(wildcard tests/*.t)
NVCC    ?= $(or $(shell command -v nvcc 2>/dev/null),$(wildcard /usr/local/cuda/bin/nvcc))

# nvcc is often there without cuDNN, which comes by itself. Asked by the preprocessor, which knows CPATH and the like.
NVCC_WORD    = $(firstword $(foreach word,$(NVCC),$(if $(findstring nvcc,$(word)),$(word))) $(NVCC))# of "ccache nvcc -x" too
NVCC_AT     := $(if $(NVCC),$(shell command -v $(NVCC_WORD) 2>/dev/null))
ifneq ($(NVCC),$(if $(NVCC_AT)$(filter clean,$(MAKECMDGOALS)),$(NVCC)))
$(error NVCC=$(NVCC) is not there; NVCC= builds without CUDA)
endif
CUDA_ROOT   := $(if $(NVCC),$(abspath $(dir $(NVCC_AT))..))
CUDNN       := $(if $(NVCC),$(shell $(CC) -E -x c -I$(CUDA_ROOT)/include -include cudnn_graph.h /dev/null >/dev/null 2>&1 && echo yes))
NO_NVCC      = $(if $(filter file default undefined,$(origin NVCC)),for there is no nvcc,as NVCC= says)
CUDA_MISSING = $(if $(NVCC),$(if $(CUDNN),,for nvcc finds no cudnn_graph.h (cuDNN 9)),$(NO_NVCC))

# The program first; what goes wrong with CUDA does not take it away.
all: needs $(BUILD)/duet $(if $(SANITIZE),,$(if $(CUDA_MISSING),cuda,cuda-tried))
	@[ $(BUILD) != build/release ] || ln -sf $(BUILD)/duet duet

# A clear word instead of a screen of errors where a library is missing.
needs:
	@experiments/packages.sh check build

# -rdynamic, here and of the tests: a backend that is opened by name finds the tensor core in the program.
$(BUILD)/duet: $(BUILD)/experiments/duet.o $(BUILD)/libduet.a
	@echo "  CC  $@"; $(CC) $(DUET_CFLAGS) $(CFLAGS) -rdynamic $^ -o $@ $(LIBS) -ldl

$(BUILD)/libduet.a: $(OBJECTS)
	@rm -f $@
	@echo "  AR  $@"; ar rcs $@ $^

$(BUILD)/%.o: %.c Makefile $(BUILD)/made-with | needs
	@mkdir -p $(@D)
	@echo "  CC  $@"; $(CC) $(DUET_CFLAGS) $(CFLAGS) -c $< -o $@

# A backend's kernels: one table dt_cpu_NAME for each kernels/ops/NAME.c, and dt_cuda_NAME where there is a
# kernels/cuda/NAME.cu. The contract is what program and libduet_cuda.so must agree on (experiments/device.c): first a checksum of
# the headers that both are made from, for what changes its meaning and not its size; then sizes, for who compiled them otherwise.
CONTRACT = $(sort $(wildcard kernels/*.h kernels/ops/*.h))
$(BUILD)/cpu_families.c: TABLES = $(FAMILIES)
$(BUILD)/cuda_families.c: TABLES = $(filter $(FAMILIES),$(CUDA:kernels/cuda/%.cu=%))
$(BUILD)/%_families.c: Makefile $(CONTRACT) $(wildcard kernels/ops/*.c kernels/cuda/*.cu)
	@mkdir -p $(@D)
	@{ echo '#include "kernels/backend.h"'; \
	   for f in $(TABLES); do echo "extern const dt_kernel dt_$*_$$f[];"; done; \
	   echo 'extern const dt_kernel *const dt_$*_families[];'; \
	   echo 'const dt_kernel *const dt_$*_families[] = {'; \
	   for f in $(TABLES); do echo "    dt_$*_$$f,"; done; echo '    0};'; \
	   echo 'extern const size_t dt_$*_contract[];'; \
	   echo "const size_t dt_$*_contract[] = {1$$(cat $(CONTRACT) | cksum | cut -d' ' -f1),"; \
	   echo '    sizeof(dt_backend), sizeof(dt_kernel), sizeof(dt_call), sizeof(dt_preparation), sizeof(dt_node), sizeof(dt_tensor), 0};'; } > $@

# The model presets as C strings.
$(BUILD)/presets.c: Makefile $(wildcard experiments/presets/*.json)
	@mkdir -p $(@D)
	@{ echo '#include "eval/presets.h"'; echo '#include <stddef.h>'; echo 'const dt_preset dt_presets[] = {'; \
	   for f in $(wildcard experiments/presets/*.json); do \
	     echo "    {\"$$(basename $$f .json)\","; sed 's/["\\]/\\&/g; s/^/     "/; s/$$/\\n"/' $$f; echo '    },'; \
	   done; echo '    {NULL, NULL}};'; } > $@

$(BUILD)/%.o: $(BUILD)/%.c $(BUILD)/made-with
	@echo "  CC  $@"; $(CC) $(DUET_CFLAGS) $(CFLAGS) -c $< -o $@

$(BUILD)/tests/%: tests/%.c $(BUILD)/libduet.a
	@mkdir -p $(@D)
	@echo "  CC  $@"; $(CC) $(DUET_CFLAGS) $(CFLAGS) -rdynamic $< $(BUILD)/libduet.a -o $@ $(LIBS) -ldl

# ---- CUDA: libduet_cuda.so for a GPU, beside the program, and the same kernels on the CPU for the tests ----

CUDA       = $(wildcard kernels/cuda/*.cu)
NVCC_FLAGS = -std=c++17 -O3 -I. -MMD -MP -Xcompiler -fPIC,-Wall,-Wextra,-Wno-missing-field-initializers -Werror all-warnings \
             -gencode arch=compute_80,code=sm_80 -gencode 'arch=compute_90,code=[sm_90,compute_90]'

ifneq ($(CUDA_MISSING),)
cuda: | needs
	@echo "  --  libduet_cuda.so is not built, $(CUDA_MISSING)$$([ -e $(BUILD)/libduet_cuda.so ] && \
	    rm -f $(BUILD)/libduet_cuda.so && echo , and the one that was there is removed): this duet computes on the CPU"
else
cuda: $(BUILD)/libduet_cuda.so
endif

cuda-tried: $(BUILD)/duet
	@[ -e $(BUILD)/libduet_cuda.so ] || echo "  --  libduet_cuda.so comes next, in a minute or two; without it: make NVCC="
	@$(MAKE) -s cuda \
	    || echo "  --  libduet_cuda.so is not built: nvcc failed, see above. This duet computes on the CPU; make NVCC= does not try"

$(BUILD)/libduet_cuda.so: $(CUDA:%.cu=$(BUILD)/%.o) $(BUILD)/cuda_families.o
	@echo "  NVCC  $@"; $(NVCC) -shared $^ -o $@ -Xlinker -rpath,$(CUDA_ROOT)/lib64 -lcublasLt -lcudnn

$(BUILD)/%.o: %.cu Makefile $(BUILD)/made-with-nvcc
	@mkdir -p $(@D)
	@echo "  NVCC  $@"; $(NVCC) $(NVCC_FLAGS) -c $< -o $@

$(BUILD)/cuda_families.o: DUET_CFLAGS += -fPIC

# The simulator (tests/cudasim/cuda_runtime.h). Its own hooks take the place of the race detector's library.
CUDASIM       = $(patsubst tests/cudasim/%.cpp,$(BUILD)/cudasim/%.o,$(wildcard tests/cudasim/*.cpp))
CUDASIM_FLAGS = -std=gnu++17 -O2 -g -fPIC -march=$(ARCH) -I. -Itests/cudasim -MMD -MP -Wall -Wextra -Wshadow -Werror \
                -Wno-missing-field-initializers
CUDASIM_HOOKS = -fsanitize=thread -Ddt_cuda=dt_cuda_unbounded

# The files over NVIDIA's libraries alone; on the simulator tests/cudasim/NAME.cpp takes the place of NAME.cu.
CUDA_LIBRARIES = kernels/cuda/blas.cu kernels/cuda/dnn.cu kernels/cuda/sdpa.cu

$(BUILD)/libduet_cudasim.so: $(patsubst kernels/cuda/%.cu,$(BUILD)/cudasim/kernels/%.o,$(filter-out $(CUDA_LIBRARIES),$(CUDA))) $(CUDASIM) $(BUILD)/cuda_families.o
	@echo "  CXX  $@"; $(CXX) -shared -Wl,-Bsymbolic $^ -o $@

$(BUILD)/cudasim/kernels/%.o: kernels/cuda/%.cu Makefile $(BUILD)/made-with-cxx
	@mkdir -p $(@D)
	@echo "  CXX  $@"; $(CXX) $(CUDASIM_FLAGS) $(CUDASIM_HOOKS) -x c++ -c $< -o $@

$(BUILD)/cudasim/%.o: tests/cudasim/%.cpp Makefile $(BUILD)/made-with-cxx
	@mkdir -p $(@D)
	@echo "  CXX  $@"; $(CXX) $(CUDASIM_FLAGS) -c $< -o $@

$(BUILD)/cudasim/%_test.o: tests/%.cpp Makefile $(BUILD)/made-with-cxx
	@mkdir -p $(@D)
	@echo "  CXX  $@"; $(CXX) $(CUDASIM_FLAGS) $(CUDASIM_HOOKS) -c $< -o $@

$(BUILD)/tests/%: $(BUILD)/cudasim/%_test.o $(filter-out %/bounds.o %/blas.o %/dnn.o %/sdpa.o,$(CUDASIM))
	@mkdir -p $(@D)
	@echo "  CXX  $@"; $(CXX) $^ -o $@ -ldl

# The programs whose rows run on the simulated backend too.
SIMULATED = $(if $(SIMULATOR),$(filter $(addprefix $(BUILD)/tests/,train device joined attention norm contrastive backend conv likelihood \
              matmul narrow pixels plan pointwise pool random random_plans reduce replay residence resize shape stored_ops trouble),$(PROGRAMS)))

# Under the thread sanitizer only what has threads of its own runs: GNU's OpenMP is not built for it, and everything that
# computes through it would be reported.
ifeq ($(SANITIZE),thread)
TESTS   := tests/loader.c tests/pairs.c tests/tokenizer.c
SCRIPTS  =
PROGRAMS = $(TESTS:%.c=$(BUILD)/%)
endif

# Spinning is ruinous for OpenMP where cores are shared; the program sets this for itself (experiments/duet.c).
test: export GOMP_SPINCOUNT ?= 3000
test: all $(PROGRAMS) $(if $(SIMULATED),$(BUILD)/libduet_cudasim.so)
	@BUILD=$(BUILD) prove $(PROGRAMS) $(SCRIPTS)
	@$(if $(SIMULATED),echo "On the simulated CUDA backend:"; DUET_BACKEND=$(BUILD)/libduet_cudasim.so prove -j$(shell nproc) $(SIMULATED))
	@$(if $(SIMULATOR),,echo "The simulated CUDA backend: skipped, for there is no C++ compiler ($(CXX))")

# Installing and building in one go: the second make sees the libraries that the first one installed.
check:
	@experiments/packages.sh install test
	@$(MAKE) --no-print-directory test

demo:
	@experiments/packages.sh install demo
	@$(MAKE) --no-print-directory all
	@experiments/emoji.sh

PARITY_VENV = build/parity-venv
parity: all
	@[ -n "$(PARITY_PYTHON)" ] || tests/parity/venv.sh $(PARITY_VENV)
	@$(or $(PARITY_PYTHON),$(PARITY_VENV)/bin/python) -B tests/parity/parity.py --duet $(BUILD)/duet $(PARITY_FLAGS)

# Fuzzing with clang's libFuzzer: the readers of files that others wrote, each for FUZZ_SECONDS from the inputs in
# tests/fuzz/corpus/NAME on. What it learns and finds goes to $(FUZZ).
FUZZ_SECONDS ?= 600
FUZZ          = $(BUILD)/fuzz
FUZZ_FLAGS    = $(filter-out -fopenmp -march=%,$(DUET_CFLAGS)) -g -O1 -fsanitize=fuzzer-no-link,address,undefined \
                -fno-sanitize-recover=undefined -fno-omit-frame-pointer
FUZZERS       = $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/*.c))
ifeq ($(shell command -v clang 2>/dev/null),)
fuzz:
	@echo "make fuzz: skipped, for it needs clang (with libFuzzer)"
else
fuzz: $(FUZZERS:%=$(FUZZ)/run-%)
endif

$(FUZZ)/%.o: %.c Makefile | needs
	@mkdir -p $(@D)
	@echo "  CC  $@"; clang $(FUZZ_FLAGS) -c $< -o $@

$(FUZZ)/data.a: $(patsubst %.c,$(FUZZ)/%.o,$(wildcard data/*.c))
	@rm -f $@
	@echo "  AR  $@"; ar rcs $@ $^

$(FUZZ)/run-%: $(FUZZ)/tests/fuzz/%.o $(FUZZ)/data.a
	@clang -fsanitize=fuzzer,address,undefined $^ -o $(FUZZ)/$* $(filter-out -ldnnl -llbfgs,$(LIBS))
	@mkdir -p $(FUZZ)/corpus/$*
	@echo "  FUZZ  $* for $(FUZZ_SECONDS) s"
	@$(FUZZ)/$* -max_total_time=$(FUZZ_SECONDS) -timeout=20 -print_final_stats=1 -artifact_prefix=$(FUZZ)/$*- \
	    $(FUZZ)/corpus/$* tests/fuzz/corpus/$* 2> $(FUZZ)/$*.log \
	    && echo "  FUZZ  $*: $$(sed -n 's/.*number_of_executed_units: *//p' $(FUZZ)/$*.log) inputs, no finding" \
	    || { tail -40 $(FUZZ)/$*.log; echo "  FUZZ  $*: a finding; the input is named above"; exit 1; }

gpu-check:
	@tests/gpu/check.sh

clean:
	rm -rf build duet

# What things are made with. Where that changes (another ARCH, say), they are made anew.
MADE_WITH      := $(CC) $(DUET_CFLAGS) $(CFLAGS) $(LIBS)
MADE_WITH_CXX  := $(CXX) $(CUDASIM_FLAGS)
MADE_WITH_NVCC := $(NVCC) $(NVCC_FLAGS)
say             = printf '%s\n' '$(subst ','\'',$(1))'
if_new          = $(if $(shell $(call say,$(1)) | cmp -s - $(2) && echo same),,always)
$(BUILD)/made-with:      WITH = $(MADE_WITH)
$(BUILD)/made-with-cxx:  WITH = $(MADE_WITH_CXX)
$(BUILD)/made-with-nvcc: WITH = $(MADE_WITH_NVCC)
$(BUILD)/made-with:      $(call if_new,$(MADE_WITH),$(BUILD)/made-with)
$(BUILD)/made-with-cxx:  $(call if_new,$(MADE_WITH_CXX),$(BUILD)/made-with-cxx)
$(BUILD)/made-with-nvcc: $(call if_new,$(MADE_WITH_NVCC),$(BUILD)/made-with-nvcc)
$(BUILD)/made-with $(BUILD)/made-with-cxx $(BUILD)/made-with-nvcc:
	@mkdir -p $(@D)
	@$(call say,$(WITH)) > $@

.PHONY: always all needs cuda cuda-tried test check gpu-check demo parity fuzz clean
.SECONDARY:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
