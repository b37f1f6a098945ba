# muster_torch: libtorch from the PyPI wheel (or an unpacked libtorch), as a target of ours.
#
# Not find_package(Torch): its include folder also holds fmt 12, protobuf 3.13 and oneDNN, which would hide the
# system's from every file that includes torch. Only the four header trees that are needed are put on the path.
include_guard(GLOBAL)
set(MUSTER_TORCH_ROOT "" CACHE PATH "Folder with include/ATen and lib/libtorch_cpu.so; empty: python3's torch")
if(NOT MUSTER_TORCH_ROOT)
  execute_process(
    COMMAND python3 -c "import importlib.util,os;print(os.path.dirname(importlib.util.find_spec('torch').origin),end='')"
    OUTPUT_VARIABLE found RESULT_VARIABLE status ERROR_QUIET)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "muster-worker needs libtorch: `pip install torch==2.13.0`, set MUSTER_TORCH_ROOT, "
      "or configure with -DMUSTER_WITH_TORCH=OFF")
  endif()
  set(MUSTER_TORCH_ROOT ${found} CACHE PATH "Folder with include/ATen and lib/libtorch_cpu.so" FORCE)
endif()

set(muster_torch_headers ${CMAKE_BINARY_DIR}/torch-headers)
file(MAKE_DIRECTORY ${muster_torch_headers})
foreach(tree ATen c10 caffe2 torch)
  file(CREATE_LINK ${MUSTER_TORCH_ROOT}/include/${tree} ${muster_torch_headers}/${tree} SYMBOLIC)
endforeach()
add_library(muster_torch INTERFACE)
target_include_directories(muster_torch SYSTEM INTERFACE ${muster_torch_headers}
  ${muster_torch_headers}/torch/csrc/api/include)
target_compile_definitions(muster_torch INTERFACE USE_DISTRIBUTED)
# The sanitizers' check of virtual tables wants type information that libtorch does not export.
target_compile_options(muster_torch INTERFACE -fno-sanitize=vptr)
# Not libtorch.so, which would load all of CUDA where the wheel has it: a worker with a GPU loads that by itself.
target_link_libraries(muster_torch INTERFACE ${MUSTER_TORCH_ROOT}/lib/libtorch_cpu.so ${MUSTER_TORCH_ROOT}/lib/libc10.so)
