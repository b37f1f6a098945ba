# What every target of ours shares: the language level and the warnings.
add_library(muster_options INTERFACE)
target_compile_features(muster_options INTERFACE cxx_std_20)
target_compile_options(muster_options INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow
  -Wno-missing-field-initializers $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict> -Wnon-virtual-dtor -Woverloaded-virtual $<$<BOOL:${MUSTER_WERROR}>:-Werror>)

# muster_library(NAME HEADERS a.h SOURCES a.cpp DEPENDS folder... PRIVATE_DEPENDS target... TESTS a_test.cpp)
#
# One folder of src/. DEPENDS names other folders and is the folder's import list (tools/house.py
# checks it); PRIVATE_DEPENDS names third-party targets. TESTS become one program, NAME_test,
# linked with the folders of TEST_DEPENDS as well.
function(muster_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "HEADERS;SOURCES;DEPENDS;PUBLIC_DEPENDS;PRIVATE_DEPENDS;TESTS;TEST_DEPENDS")
  if(arg_SOURCES)
    add_library(muster_${name} STATIC ${arg_SOURCES})
    set(scope PUBLIC)
    target_link_libraries(muster_${name} PRIVATE muster_options ${arg_PRIVATE_DEPENDS})
    set_target_properties(muster_${name} PROPERTIES CXX_EXTENSIONS OFF)
  else()
    add_library(muster_${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  add_library(muster::${name} ALIAS muster_${name})
  target_sources(muster_${name} ${scope} FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/src FILES ${arg_HEADERS})
  list(TRANSFORM arg_DEPENDS PREPEND muster::)
  target_link_libraries(muster_${name} ${scope} ${arg_DEPENDS} ${arg_PUBLIC_DEPENDS})
  target_compile_features(muster_${name} ${scope} cxx_std_20)
  set_target_properties(muster_${name} PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)
  if(BUILD_TESTING AND arg_TESTS)
    find_package(GTest REQUIRED)
    add_executable(muster_${name}_test ${arg_TESTS})
    list(TRANSFORM arg_TEST_DEPENDS PREPEND muster::)
    target_link_libraries(muster_${name}_test PRIVATE muster::${name} ${arg_TEST_DEPENDS} ${arg_PRIVATE_DEPENDS}
      muster_options GTest::gtest_main)
    include(GoogleTest)
    gtest_discover_tests(muster_${name}_test DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 300)
  endif()
endfunction()
