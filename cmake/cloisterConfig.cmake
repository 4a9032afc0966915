# SPDX-License-Identifier: MIT
# find_package(cloister): cloister_add_handler, for a handler that is built outside of cloister's tree (docs/handlers.md).
# Installed as PREFIX/lib/cmake/cloister; everything is found from there.
get_filename_component(_cloister_prefix ${CMAKE_CURRENT_LIST_DIR}/../../.. ABSOLUTE)
set(CLOISTER_CELL_LD ${_cloister_prefix}/lib/cloister/cell.ld)
set(CLOISTER_INCLUDE ${_cloister_prefix}/include/cloister)
set(CLOISTER_POLICIES ${_cloister_prefix}/share/cloister/policy)
set(CLOISTER_BINARY_CHECK ${CMAKE_CURRENT_LIST_DIR}/check)
set(CLOISTER_TOOL ${_cloister_prefix}/bin/cloister)
if(NOT TARGET cloister::listener)
  add_library(cloister::cell STATIC IMPORTED)
  set_target_properties(cloister::cell PROPERTIES IMPORTED_LOCATION ${_cloister_prefix}/lib/cloister/libcloister_cell.a)
  add_library(cloister::listener INTERFACE IMPORTED)
  foreach(name listener_main listener confine control base syscall cell)
    target_link_libraries(cloister::listener INTERFACE ${_cloister_prefix}/lib/cloister/libcloister_${name}.a)
  endforeach()
  target_link_options(cloister::listener INTERFACE -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,-z,separate-code -Wl,--build-id=sha1)
endif()
include(${CMAKE_CURRENT_LIST_DIR}/handler.cmake)
