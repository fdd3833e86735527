# Stands in for the file of that name in Slicer's build tree, which comes last: everything is listed by now.
if(NOT STUB_CONFIG_GENERATED)
  message(FATAL_ERROR "include \${Slicer_EXTENSION_GENERATE_CONFIG} before \${Slicer_EXTENSION_CPACK}")
endif()

get_property(listed GLOBAL PROPERTY STUB_LISTED_FILES)
file(GLOB_RECURSE present ${CMAKE_SOURCE_DIR}/X2BRSlicer/* ${CMAKE_SOURCE_DIR}/X2BRLogic/*
  ${CMAKE_SOURCE_DIR}/Resources/Models/* ${CMAKE_SOURCE_DIR}/Resources/SampleData/*)
list(FILTER present EXCLUDE REGEX "__pycache__|CMakeLists\\.txt$")
foreach(file ${present})
  if(NOT file IN_LIST listed)
    message(FATAL_ERROR "${file} is not listed: Slicer would be shipped without it")
  endif()
endforeach()

file(WRITE ${CMAKE_BINARY_DIR}/extension.txt
"name=${EXTENSION_NAME}
homepage=${EXTENSION_HOMEPAGE}
category=${EXTENSION_CATEGORY}
contributors=${EXTENSION_CONTRIBUTORS}
description=${EXTENSION_DESCRIPTION}
icon=${EXTENSION_ICONURL}
screenshots=${EXTENSION_SCREENSHOTURLS}
depends=${EXTENSION_DEPENDS}
")
