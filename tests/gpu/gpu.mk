# What check.sh builds: by the rules of the Makefile, of the parts that can be built here. From the root of the sources:
#   make -o needs -f tests/gpu/gpu.mk BUILD=DIR GPU_TESTS="..." programs
#   make -o needs -f tests/gpu/gpu.mk BUILD=DIR GENCODE="..." CUDA_LINK="..." [NO_CUDNN=1] library
# DIR/here.mk says what there is here: SOURCES, and LIBS and CC where they differ.
-include $(BUILD)/here.mk

# Without -Werror: a version of nvcc that warns of more is no reason to stop.
override NVCC_FLAGS = -std=c++17 -O3 -I. -MMD -MP -Xcompiler -fPIC $(GENCODE)

include Makefile

GPU_CUDA = $(if $(NO_CUDNN),$(filter-out kernels/cuda/dnn.cu kernels/cuda/sdpa.cu,$(CUDA)) tests/gpu/no_cudnn.cu,$(CUDA))

programs: $(GPU_TESTS:%=$(BUILD)/tests/%)
library: $(BUILD)/libduet_gpu.so

# The programs whose rows run on any backend.
rows:
	@echo $(notdir $(SIMULATED))

$(BUILD)/libduet_gpu.so: $(GPU_CUDA:%.cu=$(BUILD)/%.o) $(BUILD)/cuda_families.o
	@echo "  NVCC  $@"; $(NVCC) -shared $^ -o $@ $(CUDA_LINK)

.PHONY: programs library rows
