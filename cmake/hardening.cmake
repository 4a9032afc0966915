# SPDX-License-Identifier: MIT
# Warnings and hardening for every target: what the OpenSSF guide 'Compiler Options Hardening Guide for C and C++'
# names and both g++ 12 and clang 14 have. Targets link cloister::flags.
include(CheckCXXCompilerFlag)
option(CLOISTER_HARDENING "the hardening flags of the OpenSSF guide" ON)
option(CLOISTER_WERROR "warnings are errors" ON)

add_library(cloister_flags INTERFACE)
add_library(cloister::flags ALIAS cloister_flags)
target_include_directories(cloister_flags INTERFACE ${PROJECT_SOURCE_DIR}/src)
target_compile_options(cloister_flags INTERFACE -Wall -Wextra -Wconversion -Wsign-conversion -Wshadow -Wformat=2
  -Wimplicit-fallthrough -Wundef $<$<BOOL:${CLOISTER_WERROR}>:-Werror>)
# The same sources give the same bytes, wherever they lie.
target_compile_options(cloister_flags INTERFACE -ffile-prefix-map=${PROJECT_SOURCE_DIR}=. -ffile-prefix-map=${PROJECT_BINARY_DIR}=build)

if(CMAKE_SYSTEM_PROCESSOR STREQUAL "aarch64")
  set(CLOISTER_BRANCH_PROTECTION -mbranch-protection=standard)
else()
  set(CLOISTER_BRANCH_PROTECTION -fcf-protection=full)
endif()
if(CLOISTER_HARDENING)
  target_compile_options(cloister_flags INTERFACE -Werror=format-security -fstack-protector-strong
    -fstack-clash-protection ${CLOISTER_BRANCH_PROTECTION} -fno-delete-null-pointer-checks -fno-strict-overflow -fno-strict-aliasing)
  check_cxx_compiler_flag(-ftrivial-auto-var-init=zero CLOISTER_HAS_ZERO_INIT)
  if(CLOISTER_HAS_ZERO_INIT)
    target_compile_options(cloister_flags INTERFACE -ftrivial-auto-var-init=zero)
  endif()
  target_compile_definitions(cloister_flags INTERFACE _GLIBCXX_ASSERTIONS)
  if(NOT CMAKE_BUILD_TYPE STREQUAL "Debug" AND NOT CLOISTER_SANITIZE)
    target_compile_options(cloister_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
  endif()
  target_link_options(cloister_flags INTERFACE -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,-z,separate-code -Wl,--as-needed
    -Wl,--build-id=sha1)
endif()
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
include(CheckPIESupported)
check_pie_supported()

if(CLOISTER_SANITIZE)
  target_compile_options(cloister_flags INTERFACE -fsanitize=${CLOISTER_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer
    $<$<CXX_COMPILER_ID:Clang>:-fno-sanitize=function>) # its handler is in the C++ runtime library, which the listener has not
  target_link_options(cloister_flags INTERFACE -fsanitize=${CLOISTER_SANITIZE})
  target_compile_definitions(cloister_flags INTERFACE CLOISTER_INSTRUMENTED)
endif()
if(CLOISTER_COVERAGE)
  # Clang's, in continuous mode: the counters lie in a shared mapping of a file (%c; one a binary: %m), so nothing runs or is
  # written at the end. A listener counts under its filter, whoever it has become, and until SIGKILL.
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "CLOISTER_COVERAGE needs clang")
  endif()
  target_compile_options(cloister_flags INTERFACE -fprofile-instr-generate=${PROJECT_BINARY_DIR}/profiles/%c%m.profraw
    "SHELL:-mllvm -runtime-counter-relocation" -fcoverage-mapping)
  target_link_options(cloister_flags INTERFACE -fprofile-instr-generate)
  target_compile_definitions(cloister_flags INTERFACE CLOISTER_INSTRUMENTED)
endif()
