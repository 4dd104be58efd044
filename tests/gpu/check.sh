#!/bin/sh
# The proof on a machine with an NVIDIA GPU: make gpu-check, or from the root of the sources
#
#   tests/gpu/check.sh [TABLE.md]      default: build/gpu-check.md
#
# In under eight minutes on an H200 with 16 cores: the test rows on the GPU, compute-sanitizer over a short training step, recorded and
# resumed runs against plain ones, the stored trajectory, a benchmark, and the same models in PyTorch. Needs a C and a C++ compiler,
# make, nvcc and cuBLASLt; what else is missing (cuDNN, oneDNN, jansson, LMDB, ..., PyTorch) is done without and named in the table.
# Exits with 0 only if all that must hold held; speeds are told as goals met or missed and change nothing. No setting of the GPU is
# touched. Without a GPU it says so and exits with 0.
#
# Variables: NVCC, CC, CXX; CUDNN_ROOT (with include and lib); DUET_GPU_PYTHON (a python3 with torch); DUET_GPU_BUILD (a folder, default
# build/gpu); DUET_GPU_SECONDS (default 470); DUET_GPU_DRY=FILE tries this script itself on another backend, such as
# libduet_cudasim.so: tests and steps as they are, a toy benchmark.
set -u
cd "$(dirname "$0")/../.." || exit 1
table=${1:-build/gpu-check.md}
build=${DUET_GPU_BUILD:-build/gpu}
dry=${DUET_GPU_DRY:-}
limit=${DUET_GPU_SECONDS:-470}
CC=${CC:-cc} CXX=${CXX:-c++}
began=$(date +%s)
cores=$(nproc 2>/dev/null || echo 2)
log=$build/log
failed=0 finished= warming= checks= cuda= headers=

elapsed() { echo $(($(date +%s) - began)); }
left() { echo $((limit - $(elapsed))); }

# row PART RESULT SECONDS NOTE: and the table as far as it is, for who stops the rest
row()
{
    printf '| %s | %s | %s | %s |\n' "$1" "$2" "$3" "$4" >> "$log/parts.md"
    echo "$1: $2 ($3 s)${4:+: $4}"
    [ "$2" != FAILED ] || failed=1
    write_table
}

note() { echo "- $1" >> "$log/notes.md"; echo "  $1"; }

# ---- What is here ----

stop() { echo "gpu-check: $1"; exit 1; }

command -v "$CC" >/dev/null 2>&1 || stop "there is no C compiler ($CC); CC=NAME names one"
command -v make >/dev/null 2>&1 || stop "there is no make"
rm -rf "$log"
mkdir -p "$log" "$(dirname "$table")" || stop "cannot write into $build"
: > "$log/parts.md"; : > "$log/notes.md"; : > "$log/results"
"$CC" -std=gnu11 tests/gpu/probe.c -o "$build/probe" -ldl || stop "$CC cannot build tests/gpu/probe.c"

fact() { sed -n "s/^$1 //p" "$log/gpu"; }

if [ -n "$dry" ]; then
    [ -f "$dry" ] || stop "DUET_GPU_DRY: there is no $dry"
    printf 'name none: a dry run on %s\n' "$(basename "$dry")" > "$log/gpu"
elif ! "$build/probe" > "$log/gpu"; then
    echo "gpu-check: skipped, for no GPU answers: $(head -n 1 "$log/gpu")"
    exit 0
fi
echo "gpu-check on $(fact name)"

# Where pip puts NVIDIA's libraries.
pip_folders=$(python3 -c 'import nvidia; print("\n".join(nvidia.__path__))' 2>/dev/null)

# find_in KIND NAME FOLDER...: the first folder/KIND that has NAME, or that of a package of pip's
find_in()
{
    kind=$1 name=$2
    shift 2
    for folder in "$@"; do
        for file in "$folder/$kind"/$name; do [ -e "$file" ] && { dirname "$file"; return 0; }; done
    done
    for folder in $pip_folders; do
        for file in "$folder"/*/"$kind"/$name; do [ -e "$file" ] && { dirname "$file"; return 0; }; done
    done
    return 1
}

# find_header NAME: "-I..." or nothing where the compiler finds it by itself
find_header()
{
    echo "#include <$1>" | "$CXX" -E -x c++ -I"$cuda/include" - >/dev/null 2>&1 && return 0
    folder=$(find_in include "$1" ${CUDNN_ROOT:+"$CUDNN_ROOT"}) && echo "-I$folder"
}

# find_library NAME: what the linker is told
find_library()
{
    folder=$(find_in lib "lib$1.so*" ${CUDNN_ROOT:+"$CUDNN_ROOT"} "$cuda" /usr /usr/local) ||
        folder=$(find_in lib64 "lib$1.so*" ${CUDNN_ROOT:+"$CUDNN_ROOT"} "$cuda" /usr) ||
        folder=$(find_in "lib/$(uname -m)-linux-gnu" "lib$1.so*" /usr) || return 1
    for file in "$folder/lib$1.so" "$folder/lib$1".so.*; do
        [ -e "$file" ] && { echo "-Xlinker -rpath,$folder -Xlinker $file"; return 0; }
    done
}

missing_libraries() { experiments/packages.sh check build 2>&1 | sed -n 's/.*missing here: //p'; }

includes() { echo "#include <$1>" | $CC -E - >/dev/null 2>&1; }

# The C files of the program that find all headers here; the CPU backend always, on plain loops where oneDNN is missing.
sources_that_build()
{
    rooms="kernels kernels/ops kernels/cpu encoders losses data eval eval/report experiments"
    for room in $rooms; do ls "$room"/*.c; done | grep -v '^experiments/duet.c$' | xargs -P "$cores" -n 8 sh -c '
        for f; do '"$CC"' -std=gnu11 -I. '"$(pkg-config --cflags harfbuzz 2>/dev/null)"' -M "$f" >/dev/null 2>&1 && echo "$f"; done; true' sh | sort
    includes oneapi/dnnl/dnnl.h || echo tests/gpu/plain_onednn.c
}

libraries_here()
{
    for package in jansson lmdb libjpeg libpng harfbuzz libutf8proc libpcre2-8 zlib; do pkg-config --libs $package 2>/dev/null; done
    while read -r header library; do includes $header && echo "-l$library"; done <<END
jansson.h jansson
lbfgs.h lbfgs
oneapi/dnnl/dnnl.h dnnl
END
    echo "-lm -lpthread"
}

# ---- Part 1: building ----

# Links test programs one by one after a common make: those that lack a part that could not be built are named.
build_programs()
{
    echo "  building test programs"
    $make -k GPU_TESTS="$1" programs > "$log/programs" 2>&1 && return 0
    missing= broken=
    for test in $1; do
        [ -x "$build/tests/$test" ] && continue
        $make GPU_TESTS="$test" programs > "$log/build-$(basename "$test")" 2>&1
        if [ -n "$lacking" ] && grep -q -e "undefined reference" -e "No such file or directory" -e "json_" "$log/build-$(basename "$test")"; then
            missing="$missing $test"
        else
            broken="$broken $test"
        fi
    done
    [ -z "$missing" ] || note "Test programs that are left out, for they need what is missing here:$missing."
    [ -z "$broken" ] || note "Test programs that do not build (see $log):$broken."
    [ -z "$broken" ]
}

build_library()
{
    arch=$(fact capability) cublas= cudnn= no_cudnn=
    echo "  building libduet_gpu.so for sm_$arch"
    headers="$(find_header cublasLt.h)" && cublas=$(find_library cublasLt) || { note "cuBLASLt is missing: its header or its library."; return 1; }
    if more=$(find_header cudnn.h) && cudnn=$(find_library cudnn); then
        headers="$headers $more"
    else
        no_cudnn=1 cudnn=
        note "cuDNN is missing (CUDNN_ROOT=FOLDER names it): built without, so that convolutions and attention are Duet's own kernels, as far as there are any."
    fi
    $make GENCODE="-gencode arch=compute_$arch,code=sm_$arch $headers" NO_CUDNN=$no_cudnn \
        CUDA_LINK="-Xlinker --no-as-needed $cublas $cudnn" library > "$log/library" 2>&1
}

part_build()
{
    start=$(date +%s) result=passed
    NVCC=${NVCC:-$(command -v nvcc || ls /usr/local/cuda/bin/nvcc /usr/local/cuda-*/bin/nvcc 2>/dev/null | tail -n 1)}
    if [ -z "$dry" ]; then
        [ -n "$NVCC" ] || stop "a GPU is here, but no nvcc; NVCC=FILE names one"
        cuda=$(dirname "$(dirname "$(readlink -f "$NVCC")")")
    fi
    lacking=$(missing_libraries)
    [ -z "$lacking" ] || note "Missing here, and done without: ${lacking%.}."
    sources=$(sources_that_build | tr '\n' ' ')
    compiler=$CC libraries=
    includes jansson.h || compiler="$CC -Itests/gpu/lean"
    includes oneapi/dnnl/dnnl.h || note "oneDNN is missing: the CPU's side of comparisons is plain loops."
    [ -z "$lacking" ] || libraries=$(libraries_here | tr '\n' ' ')
    make="make -s -j$cores -o needs -f tests/gpu/gpu.mk BUILD=$build NVCC=$NVCC"
    # values with spaces travel in the environment of a file of make's own
    { echo "override SOURCES := $sources"; [ -z "$libraries" ] || echo "override LIBS := $libraries"; echo "override CC := $compiler"; } > "$build/here.mk"
    rows=$($make rows 2>/dev/null)
    rows="$(for r in $rows; do [ "$r" = train ] || [ "$r" = device ] || printf '%s ' "$r"; done)device"
    [ -n "$dry" ] || { build_library || result=FAILED; }
    build_programs "gpu/steps gpu/bench train $rows" || result=FAILED
    for program in gpu/steps gpu/bench; do [ -x "$build/tests/$program" ] || result=FAILED; done
    if [ -n "$dry" ]; then DUET_BACKEND=$dry; else DUET_BACKEND=$build/libduet_gpu.so; fi
    case $DUET_BACKEND in /*) ;; *) DUET_BACKEND=$PWD/$DUET_BACKEND ;; esac
    export DUET_BACKEND
    [ -f "$DUET_BACKEND" ] || result=FAILED
    row "1. Build" $result $(($(date +%s) - start)) "$([ $result = passed ] || echo "see $log/library and $log/programs")"
    [ $result = passed ] || { grep -h -i -m 5 "error" "$log/library" "$log/programs" 2>/dev/null; [ -f "$DUET_BACKEND" ]; }
}

# ---- Parts 2 to 5: what must hold ----

# judge LOG STATUS: "RESULT TEXT" of a program that speaks TAP
judge()
{
    good=$(grep -c '^ok' "$1") bad=$(grep -c '^not ok' "$1") skipped=$(grep -c '^ok.*# SKIP' "$1")
    text="$good passed"
    [ "$bad" = 0 ] || text="$text, $bad failed: $(grep -m 1 '^not ok' "$1" | tr '|' '/')"
    [ "$skipped" = 0 ] || text="$text, $skipped of them skipped"
    [ "$2" != 124 ] || text="$text; stopped, for it took too long"
    [ "$2" = 0 ] || [ "$bad" != 0 ] || [ "$2" = 124 ] || text="$text; ended with $2: $(tail -n 1 "$1" | tr '|' '/')"
    if [ "$2" = 0 ]; then echo "passed $text"; else echo "FAILED $text"; fi
}

part_rows()
{
    start=$(date +%s)
    echo "  running test programs on $DUET_BACKEND"
    run=
    for r in $rows; do [ -x "$build/tests/$r" ] && run="$run $r"; done
    side=4
    [ "$cores" -gt 4 ] || side=1
    echo $run | tr ' ' '\n' | OMP_NUM_THREADS=4 xargs -P $side -n 1 sh -c '
        timeout 150 "$0/tests/$2" > "$1/rows-$2" 2>&1; echo $? > "$1/status-$2"' "$build" "$log"
    result=passed count=0 text=
    for r in $run; do
        judged=$(judge "$log/rows-$r" "$(cat "$log/status-$r")")
        count=$((count + $(grep -c '^ok' "$log/rows-$r")))
        echo "| $r | ${judged%% *} | ${judged#* } |" >> "$log/rows.md"
        echo "  $r: $judged"
        [ "${judged%% *}" = passed ] || { result=FAILED; text="$text $r"; }
        grep -h 'backend has no such kernel' "$log/rows-$r" | sed 's/.*# SKIP //' | sort -u > "$log/lacks-$r"
        [ ! -s "$log/lacks-$r" ] || note "$r: rows that ran on the CPU, for $(head -n 1 "$log/lacks-$r")."
    done
    row "2. Test rows on the GPU, fp32 and bf16" $result $(($(date +%s) - start)) "$count checks in $(echo $run | wc -w) programs${text:+; failed:$text}"
}

# Duet's kernels all are in unnamed namespaces; what a tool says about others, of NVIDIA's libraries, is counted apart.
sanitizer_findings()
{
    awk '
        /^========= (Invalid|Uninitialized|Error: .*(Race|hazard)|Misaligned|Barrier)/ { ours += pending != ""; pending = $0 }
        pending && / at / { if (!/anonymous namespace|unnamed|_GLOBAL__N_/) theirs++; else { ours++; if (!first) first = $0 } pending = "" }
        END { if (pending) ours++; sub(/^=+ */, "", first); print ours + 0, theirs + 0, first }' "$1"
}

part_sanitizer()
{
    start=$(date +%s)
    tool=$(command -v compute-sanitizer || ls "$cuda/bin/compute-sanitizer" "$cuda/compute-sanitizer/compute-sanitizer" 2>/dev/null | head -n 1)
    [ -z "$dry" ] || { row "3. compute-sanitizer" skipped 0 "a dry run"; return; }
    [ -n "$tool" ] || { row "3. compute-sanitizer" skipped 0 "it is not installed"; return; }
    echo "  compute-sanitizer: memcheck, initcheck and racecheck side by side"
    for check in memcheck initcheck racecheck; do
        quiet=
        [ $check != memcheck ] || quiet="--report-api-errors no"
        (timeout 90 "$tool" --tool $check $quiet --print-limit 20 "$build/tests/gpu/steps" short > "$log/$check" 2>&1
         echo $? > "$log/status-$check") &
        eval "pid_$check=$!"
        checks="$checks $!"
    done
    for check in memcheck initcheck racecheck; do eval "wait \$pid_$check"; done
    checks=
    result=passed text=
    for check in memcheck initcheck racecheck; do
        status=$(cat "$log/status-$check")
        findings=$(sanitizer_findings "$log/$check")
        ours=${findings%% *} first=${findings#* }
        theirs=${first%% *} first=${first#* }
        if [ "$ours" != 0 ]; then
            result=FAILED text="$text $check: $ours findings, the first $(echo "$first" | tr '|' '/');"
        elif [ "$status" = 124 ]; then
            text="$text $check: not finished in 90 s, no finding until then;"
        elif ! grep -q '^=========' "$log/$check" || grep -q -i -e 'not supported' -e 'Unable to' "$log/$check"; then
            text="$text $check: does not run here ($(grep -m 1 -i -e 'not supported' -e 'Unable to' "$log/$check" | sed 's/^=* *//'));"
            [ "$result" != passed ] || result=skipped
        elif grep -q '^not ok' "$log/$check"; then
            result=FAILED text="$text $check: $(grep -m 1 '^not ok' "$log/$check");"
        elif [ "$status" != 0 ]; then
            result=FAILED text="$text $check: ended with $status;"
        else
            text="$text $check: no finding;"
        fi
        [ "$theirs" = 0 ] || text="$text $check: $theirs reports about kernels of NVIDIA's libraries;"
    done
    text=${text# }
    row "3. compute-sanitizer over training steps" $result $(($(date +%s) - start)) "${text%;}"
}

# part_program TITLE PROGRAM SECONDS
part_program()
{
    start=$(date +%s)
    name=$(basename "$2")
    [ -x "$build/tests/$2" ] || { row "$1" skipped 0 "tests/$2 is not built here"; return; }
    echo "  running tests/$2"
    timeout "$3" "$build/tests/$2" > "$log/$name" 2>&1
    judged=$(judge "$log/$name" $?)
    grep '^not ok' "$log/$name" | head -n 5 | sed 's/^/  /'
    row "$1" "${judged%% *}" $(($(date +%s) - start)) "${judged#* }"
}

part_trajectory()
{
    title="5. The stored trajectory of 60 steps"
    if [ -n "$dry" ]; then
        row "$title" skipped 0 "a dry run"
    elif [ ! -f ../shared/golden/train/config.json ] && [ ! -f tests/golden/train/config.json ]; then
        row "$title" skipped 0 "golden/train is not here"
    elif ! grep -q op_backend tests/train.c tests/clip_golden.h; then
        row "$title" skipped 0 "tests/train runs on the CPU alone"
    else
        part_program "$title" train 100
    fi
}

# ---- Parts 6 and 7: speed ----

find_python()
{
    for python in ${DUET_GPU_PYTHON:+"$DUET_GPU_PYTHON"} python3 python; do
        "$python" -c 'import torch' >/dev/null 2>&1 && { echo "$python"; return 0; }
    done
    return 1
}

# torch.compile takes a minute a model, and keeps what it made: it begins while the tests run, and is stopped before anything is timed.
start_warming()
{
    python=$(find_python) || return 0
    [ -z "$dry" ] || return 0
    export TORCHINDUCTOR_CACHE_DIR="$PWD/$build/inductor" TORCHINDUCTOR_FX_GRAPH_CACHE=1 TORCHINDUCTOR_AUTOGRAD_CACHE=1
    setsid "$python" tests/gpu/peer.py warm > "$log/warm" 2>&1 &
    warming=$!
}

stop_warming()
{
    [ -n "$warming" ] || return 0
    kill -TERM "-$warming" 2>/dev/null || kill "$warming" 2>/dev/null
    wait "$warming" 2>/dev/null
    warming=
}
trap '[ -z "$checks" ] || kill $checks 2>/dev/null; stop_warming; note "Stopped after $(elapsed) s."; failed=1; write_table; exit 1' INT TERM

part_bench()
{
    start=$(date +%s)
    [ -x "$build/tests/gpu/bench" ] || { row "6. Benchmark" skipped 0 "tests/gpu/bench is not built"; return; }
    timeout 180 "$build/tests/gpu/bench" "$log/bench.md" "$log/results" ${dry:+tiny}
    status=$?
    result=passed text=
    [ $status = 0 ] || result=FAILED
    [ $status != 124 ] || text="stopped after 180 s"
    row "6. Benchmark" $result $(($(date +%s) - start)) "$text"
}

part_peer()
{
    start=$(date +%s)
    title="7. The same models in PyTorch"
    python=$(find_python) || { row "$title" skipped 0 "no python3 with torch (DUET_GPU_PYTHON=FILE names one)"; return; }
    [ -z "$dry" ] || { row "$title" skipped 0 "a dry run"; return; }
    seconds=$(left)
    [ "$seconds" -gt 30 ] || { row "$title" skipped 0 "the time was over"; return; }
    timeout $((seconds + 20)) "$python" tests/gpu/peer.py "$log/results" "$log/peer.md" --seconds "$seconds" 2> "$log/peer-errors"
    status=$?
    if [ $status = 0 ]; then row "$title" passed $(($(date +%s) - start)) ""; else
        row "$title" skipped $(($(date +%s) - start)) "it ended with $status: $(tail -n 1 "$log/peer-errors" | tr '|' '/')"; fi
}

# ---- The table ----

driver_version()
{
    cat /sys/module/nvidia/version 2>/dev/null ||
        nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1
}

# version_of HEADER PREFIX: 9.19.0, or that it is not here
version_of()
{
    echo "#include <$1>" | "$CXX" -E -dM -x c++ ${headers:-} -I"$cuda/include" - 2>/dev/null | awk -v prefix="$2" '
        $2 == prefix "_MAJOR" { major = $3 } $2 == prefix "_MINOR" { minor = $3 } $2 == prefix "_PATCH" || $2 == prefix "_PATCHLEVEL" { patch = $3 }
        END { print major == "" ? "none" : major "." minor "." patch }'
}

write_table()
{
    commit=$(git rev-parse --short HEAD 2>/dev/null || echo "not known")
    git diff --quiet HEAD 2>/dev/null || commit="$commit, changed"
    {
        echo "# gpu-check: $(fact name)"
        echo
        [ -z "$dry" ] || { echo "A dry run of the program without a GPU: no number here says anything about one."; echo; }
        echo "| machine | |"
        echo "|---|---|"
        if [ -z "$dry" ]; then
            echo "| GPU | $(fact name), $(fact memory), compute capability $(fact capability) |"
            echo "| driver | $(driver_version), which knows CUDA $(fact cuda) |"
        fi
        [ -n "$dry" ] || echo "| built with cuBLAS | $(version_of cublas_api.h CUBLAS_VER) |"
        [ -n "$dry" ] || echo "| built with cuDNN | $(version_of cudnn_version.h CUDNN) |"
        echo "| nvcc | $("${NVCC:-nvcc}" --version 2>/dev/null | sed -n 's/.*release \([0-9.]*\).*/\1/p') |"
        echo "| processor | $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $cores cores |"
        echo "| sources | $commit |"
        echo "| date | $(date -u +%Y-%m-%d) |"
        echo
        echo "| part | result | seconds | |"
        echo "|---|---|---:|---|"
        cat "$log/parts.md"
        echo
        echo "$([ -n "$finished" ] && echo "All of it" || echo "**Not finished**, as far as this"): $(elapsed) s," \
            "$([ $failed = 0 ] && echo "and what must hold held" || echo "and **something failed**")."
        echo
        if [ -s "$log/notes.md" ]; then cat "$log/notes.md"; echo; fi
        if grep -q '^goal' "$log/results"; then
            echo "| goal (set for an H200) | |"
            echo "|---|---|"
            sed -n 's/^goal \([a-z]*\) \(.*\)/| \2 | \1 |/p' "$log/results"
            echo
        fi
        cat "$log/peer.md" "$log/bench.md" 2>/dev/null
        echo "| test rows | | |"
        echo "|---|---|---|"
        cat "$log/rows.md" 2>/dev/null
    } > "$table.new" && mv "$table.new" "$table"
}

if part_build; then
    start_warming
    part_rows
    part_sanitizer
    part_program "4. Recorded, plain and resumed runs: the same bits; the CPU: near" gpu/steps 200
    part_trajectory
    stop_warming
    part_bench
    part_peer
fi
finished=1
write_table
echo "$([ $failed = 0 ] && echo "All that must hold held" || echo "Something FAILED") ($(elapsed) s): $table"
exit $failed
