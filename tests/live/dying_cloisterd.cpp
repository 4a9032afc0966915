// SPDX-License-Identifier: MIT
// A binary that passes the trial before an upgrade, and ends when it is executed in earnest.
#include <cstdio>
#include <cstring>

int main(int argc, char** argv) {
    if (std::strcmp(argv[argc - 1], "--check") == 0) {
        (void)std::puts("cloister-state 2"); // confirmation() of supervisor/handover.h
        return 0;
    }
    return 42;
}
