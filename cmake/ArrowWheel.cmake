# Arrow::arrow from the pyarrow wheel of MUSTER_PYTHON: the wheel has headers and libraries but no CMake config.
# Arrow::parquet exports OpenSSL symbols that would take over a program's TLS: it is for muster-data, which has none.
set(MUSTER_PYTHON python3 CACHE STRING "Python whose site-packages hold the pyarrow (and torch) wheel")

if(NOT TARGET Arrow::arrow)
  execute_process(
    COMMAND ${MUSTER_PYTHON} -c "import importlib.util as u; print(u.find_spec('pyarrow').submodule_search_locations[0])"
    OUTPUT_VARIABLE MUSTER_PYARROW_FOLDER OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "muster-data needs Arrow from the pyarrow wheel, and ${MUSTER_PYTHON} has none. "
      "Do: ${MUSTER_PYTHON} -m pip install pyarrow==26.0.1, or set MUSTER_PYTHON, or set MUSTER_WITH_ARROW=OFF.")
  endif()
  file(GLOB library "${MUSTER_PYARROW_FOLDER}/libarrow.so.*")
  list(LENGTH library found)
  if(NOT found EQUAL 1 OR NOT EXISTS "${MUSTER_PYARROW_FOLDER}/include/arrow/csv/api.h")
    message(FATAL_ERROR "expected one libarrow.so.* and the headers in ${MUSTER_PYARROW_FOLDER}, found '${library}'")
  endif()
  add_library(Arrow::arrow SHARED IMPORTED GLOBAL)
  set_target_properties(Arrow::arrow PROPERTIES
    IMPORTED_LOCATION "${library}"
    INTERFACE_INCLUDE_DIRECTORIES "${MUSTER_PYARROW_FOLDER}/include"
    INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${MUSTER_PYARROW_FOLDER}/include")
  file(GLOB parquet "${MUSTER_PYARROW_FOLDER}/libparquet.so.*")
  list(LENGTH parquet found)
  if(NOT found EQUAL 1)
    message(FATAL_ERROR "expected one libparquet.so.* in ${MUSTER_PYARROW_FOLDER}, found '${parquet}'")
  endif()
  add_library(Arrow::parquet SHARED IMPORTED GLOBAL)
  set_target_properties(Arrow::parquet PROPERTIES IMPORTED_LOCATION "${parquet}" INTERFACE_LINK_LIBRARIES Arrow::arrow)
endif()
