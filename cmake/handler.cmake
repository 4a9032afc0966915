# SPDX-License-Identifier: MIT
# cloister_add_handler: a listener binary for a handler (docs/handlers.md). In this tree, and from outside by
# find_package(cloister), which sets what the tree sets itself: CLOISTER_CELL_LD, CLOISTER_INCLUDE, CLOISTER_POLICIES,
# CLOISTER_BINARY_CHECK, and the targets cloister::listener, cloister::tool.

if(CMAKE_SYSTEM_PROCESSOR STREQUAL "aarch64")
  set(CLOISTER_NO_BRANCH_PROTECTION -mbranch-protection=none)
else()
  set(CLOISTER_NO_BRANCH_PROTECTION -fcf-protection=none)
endif()
# A user who may not read a program may not trace its processes either, from their start on (src/base/tracing.h).
set(CLOISTER_UNREADABLE OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_EXECUTE WORLD_EXECUTE)
function(cloister_make_unreadable target)
  add_custom_command(TARGET ${target} POST_BUILD COMMAND chmod 0711 $<TARGET_FILE:${target}>)
endfunction()

# Code of cells: freestanding, optimised alike in every preset, never instrumented: a stack protector, a sanitizer or an
# implicit memset would each be a call into memory that a cell doesn't have.
function(cloister_compile_for_cells target)
  target_compile_features(${target} PRIVATE cxx_std_20)
  target_compile_options(${target} PRIVATE -O2 -g1 -Wall -Wextra -Wconversion -Wsign-conversion -Wshadow
    $<$<BOOL:${CLOISTER_WERROR}>:-Werror> -ffreestanding -fno-exceptions -fno-rtti -fno-stack-protector -fno-jump-tables
    -fno-asynchronous-unwind-tables -fno-unwind-tables -mgeneral-regs-only ${CLOISTER_NO_BRANCH_PROTECTION} -fno-strict-aliasing
    -fno-builtin $<$<CXX_COMPILER_ID:GNU>:-fno-tree-loop-distribute-patterns> -fvisibility=hidden
    -ffile-prefix-map=${PROJECT_SOURCE_DIR}=.)
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON)
endfunction()

# cloister_add_listener(TARGET HANDLER PAGES CONTENT): a listener around the handler in that object library, whose code and
# constants fill so many pages; with or without room for content (src/control/content.h). It is libc and ours, in one static executable: no C++ runtime library, no exceptions; no dynamic
# linker and no library's mappings, each of which would cost every fork.
function(cloister_add_listener target handler pages content)
  set(content_pages 0)
  if(content)
    math(EXPR content_pages "16777216 / 4096 + 1")
    if(CMAKE_SYSTEM_PROCESSOR STREQUAL "aarch64")
      math(EXPR content_pages "16777216 / 65536 + 1")
    endif()
  endif()
  add_executable(${target} $<TARGET_OBJECTS:${handler}>)
  target_link_libraries(${target} PRIVATE cloister::listener)
  target_link_options(${target} PRIVATE -Wl,-T,${CLOISTER_CELL_LD} -Wl,--defsym=cloister_loop_pages=${pages}
    -Wl,--defsym=cloister_content_pages=${content_pages})
  set_target_properties(${target} PROPERTIES LINKER_LANGUAGE C LINK_DEPENDS ${CLOISTER_CELL_LD})
  cloister_make_unreadable(${target})
  if(NOT CLOISTER_SANITIZE) # which needs a dynamic linker
    set_property(TARGET ${target} PROPERTY POSITION_INDEPENDENT_CODE) # CMake would link with -pie
    target_link_options(${target} PRIVATE -static-pie)
  endif()
endfunction()

# cloister_add_binary_test(NAME CLAIM FILE...): what binutils see.
function(cloister_add_binary_test name)
  add_test(NAME Binary.${name} COMMAND ${CLOISTER_BINARY_CHECK} ${ARGN} COMMAND_EXPAND_LISTS)
  set_tests_properties(Binary.${name} PROPERTIES SKIP_RETURN_CODE 77)
endfunction()

# cloister_add_handler(NAME name SOURCES file... POLICY file [MODEL file] [PAGES n] [CONTENT])
#   NAME     as in `--handler`: [a-z0-9][a-z0-9-]{0,31}
#   SOURCES  freestanding C++ that defines cloister_handle and CLOISTER_CONVERSATION (handlers/connection.h)
#   POLICY   what its cells may do
#   MODEL    C++ that defines answer_to (scripted/model.h): what the handler answers
#   PAGES    of code and constants, 1 unless given
#   CONTENT  its cells may read the service's content (control/content.h)
# Makes the program cloister-listener-NAME, installs it as libexec/cloister/handlers/NAME with its policy beside it, and
# adds the tests Binary.* and Policy.* of that handler where testing is enabled. With a model also the test Handler.*, and, by
# clang, the target fuzz-NAME: the handler against a scripted kernel.
function(cloister_add_handler)
  cmake_parse_arguments(arg "CONTENT" "NAME;POLICY;MODEL;PAGES;POLICY_DESTINATION" "SOURCES" ${ARGN})
  if(arg_UNPARSED_ARGUMENTS OR NOT arg_SOURCES OR NOT arg_POLICY)
    message(FATAL_ERROR "cloister_add_handler(NAME name SOURCES file... POLICY file [MODEL file] [PAGES n] [CONTENT]); not known: '${arg_UNPARSED_ARGUMENTS}'")
  endif()
  string(LENGTH "${arg_NAME}" length)
  if(NOT arg_NAME MATCHES "^[a-z0-9][a-z0-9-]*$" OR length GREATER 32)
    message(FATAL_ERROR "cloister_add_handler: '${arg_NAME}' is no name of a handler: up to 32 of a-z, 0-9 and '-', the first not '-'")
  endif()
  if(NOT arg_PAGES)
    set(arg_PAGES 1)
  endif()
  include(GNUInstallDirs)
  get_filename_component(policy ${arg_POLICY} ABSOLUTE)
  if(NOT arg_POLICY_DESTINATION)
    set(arg_POLICY_DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/cloister/handlers)
  endif()
  set(handler cloister-handler-${arg_NAME})
  set(target cloister-listener-${arg_NAME})
  add_library(${handler} OBJECT ${arg_SOURCES})
  target_include_directories(${handler} PRIVATE ${CLOISTER_INCLUDE})
  cloister_compile_for_cells(${handler})
  cloister_add_listener(${target} ${handler} ${arg_PAGES} ${arg_CONTENT})
  if(NOT CLOISTER_SANITIZE AND NOT CLOISTER_COVERAGE)
    install(PROGRAMS $<TARGET_FILE:${target}> DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/cloister/handlers RENAME ${arg_NAME}
      PERMISSIONS ${CLOISTER_UNREADABLE})
    install(FILES ${policy} DESTINATION ${arg_POLICY_DESTINATION} RENAME ${arg_NAME}.policy)
    cloister_add_binary_test(EachCallSiteAndTheLoopHaveAPageOfTheirOwn/${arg_NAME} cell-pages $<TARGET_FILE:${target}> ${arg_PAGES})
    cloister_add_binary_test(TheCellRefersToNothing/${arg_NAME} cell-objects $<TARGET_FILE:cloister::cell> $<TARGET_OBJECTS:${handler}>)
    if(NOT CMAKE_BUILD_TYPE STREQUAL "Debug") # which is not shipped, and links other things
      cloister_add_binary_test(TheListenerIsHardened/${arg_NAME} hardened $<TARGET_FILE:${target}>)
      cloister_add_binary_test(TheListenerNeedsNoLibraryAtAll/${arg_NAME} needs $<TARGET_FILE:${target}>)
    endif()
  endif()
  add_test(NAME Policy.IsProved/${arg_NAME} COMMAND ${CLOISTER_TOOL} policy prove ${CLOISTER_POLICIES} --handler ${policy})
  if(arg_MODEL)
    cloister_add_model_harness(model-${arg_NAME} ${arg_SOURCES} ${arg_MODEL})
    target_compile_definitions(model-${arg_NAME} PRIVATE CLOISTER_NO_FUZZER)
    add_test(NAME Handler.AnswersAsItsModel/${arg_NAME} COMMAND model-${arg_NAME})
    if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
      cloister_add_model_harness(fuzz-${arg_NAME} ${arg_SOURCES} ${arg_MODEL})
      target_compile_options(fuzz-${arg_NAME} PRIVATE -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all)
      target_link_options(fuzz-${arg_NAME} PRIVATE -fsanitize=fuzzer,address,undefined)
      set_target_properties(fuzz-${arg_NAME} PROPERTIES EXCLUDE_FROM_ALL ON)
    endif()
  endif()
endfunction()

# The handler and its model, compiled against the scripted twin of the kernel (syscall/raw.h).
function(cloister_add_model_harness target)
  add_executable(${target} ${ARGN} ${CLOISTER_HARNESS}/model.cpp ${CLOISTER_HARNESS}/scripted/kernel.cpp
    ${CLOISTER_HARNESS}/scripted/connection.cpp ${CLOISTER_HARNESS}/cell.cpp)
  target_compile_features(${target} PRIVATE cxx_std_20)
  target_compile_definitions(${target} PRIVATE CLOISTER_SCRIPTED_KERNEL)
  target_include_directories(${target} PRIVATE ${CLOISTER_HARNESS} ${CLOISTER_INCLUDE})
endfunction()
