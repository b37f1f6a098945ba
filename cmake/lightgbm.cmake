# muster_lightgbm: LightGBM's library from its PyPI wheel (or another build of it), as a target of ours.
#
# The wheel has no headers: what we call is declared in src/worker/lightgbm_api.h, for this very version.
include_guard(GLOBAL)
set(MUSTER_LIGHTGBM_LIBRARY "" CACHE FILEPATH "lib_lightgbm.so 4.7; empty: that of python3's lightgbm")
if(NOT MUSTER_LIGHTGBM_LIBRARY)
  execute_process(
    COMMAND python3 -c "import importlib.util,os;print(os.path.dirname(importlib.util.find_spec('lightgbm').origin),end='')"
    OUTPUT_VARIABLE found RESULT_VARIABLE status ERROR_QUIET)
  if(NOT status EQUAL 0 OR NOT EXISTS "${found}/lib/lib_lightgbm.so")
    message(FATAL_ERROR "muster-worker needs LightGBM: `pip install lightgbm==4.7.0`, set MUSTER_LIGHTGBM_LIBRARY, "
      "or configure with -DMUSTER_WITH_TORCH=OFF")
  endif()
  set(MUSTER_LIGHTGBM_LIBRARY ${found}/lib/lib_lightgbm.so CACHE FILEPATH
    "lib_lightgbm.so 4.7; empty: that of python3's lightgbm" FORCE)
endif()

add_library(muster_lightgbm SHARED IMPORTED)
set_target_properties(muster_lightgbm PROPERTIES IMPORTED_LOCATION "${MUSTER_LIGHTGBM_LIBRARY}")
