// SPDX-License-Identifier: MIT
// System call numbers. Sources, Linux: x86_64, i386, x32 from <asm/unistd_64.h>, <asm/unistd_32.h>,
// <asm/unistd_x32.h>; aarch64 from <asm-generic/unistd.h> with the __ARCH_WANT_ macros of its own
// <asm/unistd.h> (all: headers of Linux 6.1); 451 to 469, 335 and 336 from
// arch/x86/entry/syscalls/syscall_64.tbl of Linux 6.18. The tests compare every line with libseccomp's
// tables.
#include "policy/names.h"

#include <algorithm>
#include <array>
#include <iterator>

namespace cloister::policy {
namespace {

struct Line {
    std::string_view name;
    std::array<std::int16_t, 4> numbers; ///< x86_64, aarch64, i386, x32 (without its bit); -1: absent
};

// Sorted by name.
// clang-format off
constexpr Line table[] = {
    {"_llseek", {-1, -1, 140, -1}}, {"_newselect", {-1, -1, 142, -1}}, {"_sysctl", {156, -1, 149, -1}},
    {"accept", {43, 202, -1, 43}}, {"accept4", {288, 242, 364, 288}}, {"access", {21, -1, 33, 21}},
    {"acct", {163, 89, 51, 163}}, {"add_key", {248, 217, 286, 248}}, {"adjtimex", {159, 171, 124, 159}},
    {"afs_syscall", {183, -1, 137, 183}}, {"alarm", {37, -1, 27, 37}}, {"arch_prctl", {158, -1, 384, 158}},
    {"bdflush", {-1, -1, 134, -1}}, {"bind", {49, 200, 361, 49}}, {"bpf", {321, 280, 357, 321}},
    {"break", {-1, -1, 17, -1}}, {"brk", {12, 214, 45, 12}}, {"cachestat", {451, 451, 451, 451}},
    {"capget", {125, 90, 184, 125}}, {"capset", {126, 91, 185, 126}}, {"chdir", {80, 49, 12, 80}},
    {"chmod", {90, -1, 15, 90}}, {"chown", {92, -1, 182, 92}}, {"chown32", {-1, -1, 212, -1}},
    {"chroot", {161, 51, 61, 161}}, {"clock_adjtime", {305, 266, 343, 305}},
    {"clock_adjtime64", {-1, -1, 405, -1}}, {"clock_getres", {229, 114, 266, 229}},
    {"clock_getres_time64", {-1, -1, 406, -1}}, {"clock_gettime", {228, 113, 265, 228}},
    {"clock_gettime64", {-1, -1, 403, -1}}, {"clock_nanosleep", {230, 115, 267, 230}},
    {"clock_nanosleep_time64", {-1, -1, 407, -1}}, {"clock_settime", {227, 112, 264, 227}},
    {"clock_settime64", {-1, -1, 404, -1}}, {"clone", {56, 220, 120, 56}}, {"clone3", {435, 435, 435, 435}},
    {"close", {3, 57, 6, 3}}, {"close_range", {436, 436, 436, 436}}, {"connect", {42, 203, 362, 42}},
    {"copy_file_range", {326, 285, 377, 326}}, {"creat", {85, -1, 8, 85}}, {"create_module", {174, -1, 127, -1}},
    {"delete_module", {176, 106, 129, 176}}, {"dup", {32, 23, 41, 32}}, {"dup2", {33, -1, 63, 33}},
    {"dup3", {292, 24, 330, 292}}, {"epoll_create", {213, -1, 254, 213}}, {"epoll_create1", {291, 20, 329, 291}},
    {"epoll_ctl", {233, 21, 255, 233}}, {"epoll_ctl_old", {214, -1, -1, -1}},
    {"epoll_pwait", {281, 22, 319, 281}}, {"epoll_pwait2", {441, 441, 441, 441}},
    {"epoll_wait", {232, -1, 256, 232}}, {"epoll_wait_old", {215, -1, -1, -1}}, {"eventfd", {284, -1, 323, 284}},
    {"eventfd2", {290, 19, 328, 290}}, {"execve", {59, 221, 11, 520}}, {"execveat", {322, 281, 358, 545}},
    {"exit", {60, 93, 1, 60}}, {"exit_group", {231, 94, 252, 231}}, {"faccessat", {269, 48, 307, 269}},
    {"faccessat2", {439, 439, 439, 439}}, {"fadvise64", {221, 223, 250, 221}},
    {"fadvise64_64", {-1, -1, 272, -1}}, {"fallocate", {285, 47, 324, 285}},
    {"fanotify_init", {300, 262, 338, 300}}, {"fanotify_mark", {301, 263, 339, 301}},
    {"fchdir", {81, 50, 133, 81}}, {"fchmod", {91, 52, 94, 91}}, {"fchmodat", {268, 53, 306, 268}},
    {"fchmodat2", {452, 452, 452, 452}}, {"fchown", {93, 55, 95, 93}}, {"fchown32", {-1, -1, 207, -1}},
    {"fchownat", {260, 54, 298, 260}}, {"fcntl", {72, 25, 55, 72}}, {"fcntl64", {-1, -1, 221, -1}},
    {"fdatasync", {75, 83, 148, 75}}, {"fgetxattr", {193, 10, 231, 193}}, {"file_getattr", {468, 468, 468, 468}},
    {"file_setattr", {469, 469, 469, 469}}, {"finit_module", {313, 273, 350, 313}},
    {"flistxattr", {196, 13, 234, 196}}, {"flock", {73, 32, 143, 73}}, {"fork", {57, -1, 2, 57}},
    {"fremovexattr", {199, 16, 237, 199}}, {"fsconfig", {431, 431, 431, 431}}, {"fsetxattr", {190, 7, 228, 190}},
    {"fsmount", {432, 432, 432, 432}}, {"fsopen", {430, 430, 430, 430}}, {"fspick", {433, 433, 433, 433}},
    {"fstat", {5, 80, 108, 5}}, {"fstat64", {-1, -1, 197, -1}}, {"fstatat64", {-1, -1, 300, -1}},
    {"fstatfs", {138, 44, 100, 138}}, {"fstatfs64", {-1, -1, 269, -1}}, {"fsync", {74, 82, 118, 74}},
    {"ftime", {-1, -1, 35, -1}}, {"ftruncate", {77, 46, 93, 77}}, {"ftruncate64", {-1, -1, 194, -1}},
    {"futex", {202, 98, 240, 202}}, {"futex_requeue", {456, 456, 456, 456}}, {"futex_time64", {-1, -1, 422, -1}},
    {"futex_wait", {455, 455, 455, 455}}, {"futex_waitv", {449, 449, 449, 449}},
    {"futex_wake", {454, 454, 454, 454}}, {"futimesat", {261, -1, 299, 261}},
    {"get_kernel_syms", {177, -1, 130, -1}}, {"get_mempolicy", {239, 236, 275, 239}},
    {"get_robust_list", {274, 100, 312, 531}}, {"get_thread_area", {211, -1, 244, -1}},
    {"getcpu", {309, 168, 318, 309}}, {"getcwd", {79, 17, 183, 79}}, {"getdents", {78, -1, 141, 78}},
    {"getdents64", {217, 61, 220, 217}}, {"getegid", {108, 177, 50, 108}}, {"getegid32", {-1, -1, 202, -1}},
    {"geteuid", {107, 175, 49, 107}}, {"geteuid32", {-1, -1, 201, -1}}, {"getgid", {104, 176, 47, 104}},
    {"getgid32", {-1, -1, 200, -1}}, {"getgroups", {115, 158, 80, 115}}, {"getgroups32", {-1, -1, 205, -1}},
    {"getitimer", {36, 102, 105, 36}}, {"getpeername", {52, 205, 368, 52}}, {"getpgid", {121, 155, 132, 121}},
    {"getpgrp", {111, -1, 65, 111}}, {"getpid", {39, 172, 20, 39}}, {"getpmsg", {181, -1, 188, 181}},
    {"getppid", {110, 173, 64, 110}}, {"getpriority", {140, 141, 96, 140}}, {"getrandom", {318, 278, 355, 318}},
    {"getresgid", {120, 150, 171, 120}}, {"getresgid32", {-1, -1, 211, -1}}, {"getresuid", {118, 148, 165, 118}},
    {"getresuid32", {-1, -1, 209, -1}}, {"getrlimit", {97, 163, 76, 97}}, {"getrusage", {98, 165, 77, 98}},
    {"getsid", {124, 156, 147, 124}}, {"getsockname", {51, 204, 367, 51}}, {"getsockopt", {55, 209, 365, 542}},
    {"gettid", {186, 178, 224, 186}}, {"gettimeofday", {96, 169, 78, 96}}, {"getuid", {102, 174, 24, 102}},
    {"getuid32", {-1, -1, 199, -1}}, {"getxattr", {191, 8, 229, 191}}, {"getxattrat", {464, 464, 464, 464}},
    {"gtty", {-1, -1, 32, -1}}, {"idle", {-1, -1, 112, -1}}, {"init_module", {175, 105, 128, 175}},
    {"inotify_add_watch", {254, 27, 292, 254}}, {"inotify_init", {253, -1, 291, 253}},
    {"inotify_init1", {294, 26, 332, 294}}, {"inotify_rm_watch", {255, 28, 293, 255}},
    {"io_cancel", {210, 3, 249, 210}}, {"io_destroy", {207, 1, 246, 207}}, {"io_getevents", {208, 4, 247, 208}},
    {"io_pgetevents", {333, 292, 385, 333}}, {"io_pgetevents_time64", {-1, -1, 416, -1}},
    {"io_setup", {206, 0, 245, 543}}, {"io_submit", {209, 2, 248, 544}}, {"io_uring_enter", {426, 426, 426, 426}},
    {"io_uring_register", {427, 427, 427, 427}}, {"io_uring_setup", {425, 425, 425, 425}},
    {"ioctl", {16, 29, 54, 514}}, {"ioperm", {173, -1, 101, 173}}, {"iopl", {172, -1, 110, 172}},
    {"ioprio_get", {252, 31, 290, 252}}, {"ioprio_set", {251, 30, 289, 251}}, {"ipc", {-1, -1, 117, -1}},
    {"kcmp", {312, 272, 349, 312}}, {"kexec_file_load", {320, 294, -1, 320}},
    {"kexec_load", {246, 104, 283, 528}}, {"keyctl", {250, 219, 288, 250}}, {"kill", {62, 129, 37, 62}},
    {"landlock_add_rule", {445, 445, 445, 445}}, {"landlock_create_ruleset", {444, 444, 444, 444}},
    {"landlock_restrict_self", {446, 446, 446, 446}}, {"lchown", {94, -1, 16, 94}},
    {"lchown32", {-1, -1, 198, -1}}, {"lgetxattr", {192, 9, 230, 192}}, {"link", {86, -1, 9, 86}},
    {"linkat", {265, 37, 303, 265}}, {"listen", {50, 201, 363, 50}}, {"listmount", {458, 458, 458, 458}},
    {"listxattr", {194, 11, 232, 194}}, {"listxattrat", {465, 465, 465, 465}},
    {"llistxattr", {195, 12, 233, 195}}, {"lock", {-1, -1, 53, -1}}, {"lookup_dcookie", {212, 18, 253, 212}},
    {"lremovexattr", {198, 15, 236, 198}}, {"lseek", {8, 62, 19, 8}}, {"lsetxattr", {189, 6, 227, 189}},
    {"lsm_get_self_attr", {459, 459, 459, 459}}, {"lsm_list_modules", {461, 461, 461, 461}},
    {"lsm_set_self_attr", {460, 460, 460, 460}}, {"lstat", {6, -1, 107, 6}}, {"lstat64", {-1, -1, 196, -1}},
    {"madvise", {28, 233, 219, 28}}, {"map_shadow_stack", {453, 453, 453, 453}}, {"mbind", {237, 235, 274, 237}},
    {"membarrier", {324, 283, 375, 324}}, {"memfd_create", {319, 279, 356, 319}},
    {"memfd_secret", {447, 447, 447, 447}}, {"migrate_pages", {256, 238, 294, 256}},
    {"mincore", {27, 232, 218, 27}}, {"mkdir", {83, -1, 39, 83}}, {"mkdirat", {258, 34, 296, 258}},
    {"mknod", {133, -1, 14, 133}}, {"mknodat", {259, 33, 297, 259}}, {"mlock", {149, 228, 150, 149}},
    {"mlock2", {325, 284, 376, 325}}, {"mlockall", {151, 230, 152, 151}}, {"mmap", {9, 222, 90, 9}},
    {"mmap2", {-1, -1, 192, -1}}, {"modify_ldt", {154, -1, 123, 154}}, {"mount", {165, 40, 21, 165}},
    {"mount_setattr", {442, 442, 442, 442}}, {"move_mount", {429, 429, 429, 429}},
    {"move_pages", {279, 239, 317, 533}}, {"mprotect", {10, 226, 125, 10}}, {"mpx", {-1, -1, 56, -1}},
    {"mq_getsetattr", {245, 185, 282, 245}}, {"mq_notify", {244, 184, 281, 527}},
    {"mq_open", {240, 180, 277, 240}}, {"mq_timedreceive", {243, 183, 280, 243}},
    {"mq_timedreceive_time64", {-1, -1, 419, -1}}, {"mq_timedsend", {242, 182, 279, 242}},
    {"mq_timedsend_time64", {-1, -1, 418, -1}}, {"mq_unlink", {241, 181, 278, 241}},
    {"mremap", {25, 216, 163, 25}}, {"mseal", {462, 462, 462, 462}}, {"msgctl", {71, 187, 402, 71}},
    {"msgget", {68, 186, 399, 68}}, {"msgrcv", {70, 188, 401, 70}}, {"msgsnd", {69, 189, 400, 69}},
    {"msync", {26, 227, 144, 26}}, {"munlock", {150, 229, 151, 150}}, {"munlockall", {152, 231, 153, 152}},
    {"munmap", {11, 215, 91, 11}}, {"name_to_handle_at", {303, 264, 341, 303}}, {"nanosleep", {35, 101, 162, 35}},
    {"newfstatat", {262, 79, -1, 262}}, {"nfsservctl", {180, 42, 169, -1}}, {"nice", {-1, -1, 34, -1}},
    {"oldfstat", {-1, -1, 28, -1}}, {"oldlstat", {-1, -1, 84, -1}}, {"oldolduname", {-1, -1, 59, -1}},
    {"oldstat", {-1, -1, 18, -1}}, {"olduname", {-1, -1, 109, -1}}, {"open", {2, -1, 5, 2}},
    {"open_by_handle_at", {304, 265, 342, 304}}, {"open_tree", {428, 428, 428, 428}},
    {"open_tree_attr", {467, 467, 467, 467}}, {"openat", {257, 56, 295, 257}}, {"openat2", {437, 437, 437, 437}},
    {"pause", {34, -1, 29, 34}}, {"perf_event_open", {298, 241, 336, 298}}, {"personality", {135, 92, 136, 135}},
    {"pidfd_getfd", {438, 438, 438, 438}}, {"pidfd_open", {434, 434, 434, 434}},
    {"pidfd_send_signal", {424, 424, 424, 424}}, {"pipe", {22, -1, 42, 22}}, {"pipe2", {293, 59, 331, 293}},
    {"pivot_root", {155, 41, 217, 155}}, {"pkey_alloc", {330, 289, 381, 330}},
    {"pkey_free", {331, 290, 382, 331}}, {"pkey_mprotect", {329, 288, 380, 329}}, {"poll", {7, -1, 168, 7}},
    {"ppoll", {271, 73, 309, 271}}, {"ppoll_time64", {-1, -1, 414, -1}}, {"prctl", {157, 167, 172, 157}},
    {"pread64", {17, 67, 180, 17}}, {"preadv", {295, 69, 333, 534}}, {"preadv2", {327, 286, 378, 546}},
    {"prlimit64", {302, 261, 340, 302}}, {"process_madvise", {440, 440, 440, 440}},
    {"process_mrelease", {448, 448, 448, 448}}, {"process_vm_readv", {310, 270, 347, 539}},
    {"process_vm_writev", {311, 271, 348, 540}}, {"prof", {-1, -1, 44, -1}}, {"profil", {-1, -1, 98, -1}},
    {"pselect6", {270, 72, 308, 270}}, {"pselect6_time64", {-1, -1, 413, -1}}, {"ptrace", {101, 117, 26, 521}},
    {"putpmsg", {182, -1, 189, 182}}, {"pwrite64", {18, 68, 181, 18}}, {"pwritev", {296, 70, 334, 535}},
    {"pwritev2", {328, 287, 379, 547}}, {"query_module", {178, -1, 167, -1}}, {"quotactl", {179, 60, 131, 179}},
    {"quotactl_fd", {443, 443, 443, 443}}, {"read", {0, 63, 3, 0}}, {"readahead", {187, 213, 225, 187}},
    {"readdir", {-1, -1, 89, -1}}, {"readlink", {89, -1, 85, 89}}, {"readlinkat", {267, 78, 305, 267}},
    {"readv", {19, 65, 145, 515}}, {"reboot", {169, 142, 88, 169}}, {"recvfrom", {45, 207, 371, 517}},
    {"recvmmsg", {299, 243, 337, 537}}, {"recvmmsg_time64", {-1, -1, 417, -1}}, {"recvmsg", {47, 212, 372, 519}},
    {"remap_file_pages", {216, 234, 257, 216}}, {"removexattr", {197, 14, 235, 197}},
    {"removexattrat", {466, 466, 466, 466}}, {"rename", {82, -1, 38, 82}}, {"renameat", {264, 38, 302, 264}},
    {"renameat2", {316, 276, 353, 316}}, {"request_key", {249, 218, 287, 249}},
    {"restart_syscall", {219, 128, 0, 219}}, {"rmdir", {84, -1, 40, 84}}, {"rseq", {334, 293, 386, 334}},
    {"rt_sigaction", {13, 134, 174, 512}}, {"rt_sigpending", {127, 136, 176, 522}},
    {"rt_sigprocmask", {14, 135, 175, 14}}, {"rt_sigqueueinfo", {129, 138, 178, 524}},
    {"rt_sigreturn", {15, 139, 173, 513}}, {"rt_sigsuspend", {130, 133, 179, 130}},
    {"rt_sigtimedwait", {128, 137, 177, 523}}, {"rt_sigtimedwait_time64", {-1, -1, 421, -1}},
    {"rt_tgsigqueueinfo", {297, 240, 335, 536}}, {"sched_get_priority_max", {146, 125, 159, 146}},
    {"sched_get_priority_min", {147, 126, 160, 147}}, {"sched_getaffinity", {204, 123, 242, 204}},
    {"sched_getattr", {315, 275, 352, 315}}, {"sched_getparam", {143, 121, 155, 143}},
    {"sched_getscheduler", {145, 120, 157, 145}}, {"sched_rr_get_interval", {148, 127, 161, 148}},
    {"sched_rr_get_interval_time64", {-1, -1, 423, -1}}, {"sched_setaffinity", {203, 122, 241, 203}},
    {"sched_setattr", {314, 274, 351, 314}}, {"sched_setparam", {142, 118, 154, 142}},
    {"sched_setscheduler", {144, 119, 156, 144}}, {"sched_yield", {24, 124, 158, 24}},
    {"seccomp", {317, 277, 354, 317}}, {"security", {185, -1, -1, 185}}, {"select", {23, -1, 82, 23}},
    {"semctl", {66, 191, 394, 66}}, {"semget", {64, 190, 393, 64}}, {"semop", {65, 193, -1, 65}},
    {"semtimedop", {220, 192, -1, 220}}, {"semtimedop_time64", {-1, -1, 420, -1}},
    {"sendfile", {40, 71, 187, 40}}, {"sendfile64", {-1, -1, 239, -1}}, {"sendmmsg", {307, 269, 345, 538}},
    {"sendmsg", {46, 211, 370, 518}}, {"sendto", {44, 206, 369, 44}}, {"set_mempolicy", {238, 237, 276, 238}},
    {"set_mempolicy_home_node", {450, 450, 450, 450}}, {"set_robust_list", {273, 99, 311, 530}},
    {"set_thread_area", {205, -1, 243, -1}}, {"set_tid_address", {218, 96, 258, 218}},
    {"setdomainname", {171, 162, 121, 171}}, {"setfsgid", {123, 152, 139, 123}},
    {"setfsgid32", {-1, -1, 216, -1}}, {"setfsuid", {122, 151, 138, 122}}, {"setfsuid32", {-1, -1, 215, -1}},
    {"setgid", {106, 144, 46, 106}}, {"setgid32", {-1, -1, 214, -1}}, {"setgroups", {116, 159, 81, 116}},
    {"setgroups32", {-1, -1, 206, -1}}, {"sethostname", {170, 161, 74, 170}}, {"setitimer", {38, 103, 104, 38}},
    {"setns", {308, 268, 346, 308}}, {"setpgid", {109, 154, 57, 109}}, {"setpriority", {141, 140, 97, 141}},
    {"setregid", {114, 143, 71, 114}}, {"setregid32", {-1, -1, 204, -1}}, {"setresgid", {119, 149, 170, 119}},
    {"setresgid32", {-1, -1, 210, -1}}, {"setresuid", {117, 147, 164, 117}}, {"setresuid32", {-1, -1, 208, -1}},
    {"setreuid", {113, 145, 70, 113}}, {"setreuid32", {-1, -1, 203, -1}}, {"setrlimit", {160, 164, 75, 160}},
    {"setsid", {112, 157, 66, 112}}, {"setsockopt", {54, 208, 366, 541}}, {"settimeofday", {164, 170, 79, 164}},
    {"setuid", {105, 146, 23, 105}}, {"setuid32", {-1, -1, 213, -1}}, {"setxattr", {188, 5, 226, 188}},
    {"setxattrat", {463, 463, 463, 463}}, {"sgetmask", {-1, -1, 68, -1}}, {"shmat", {30, 196, 397, 30}},
    {"shmctl", {31, 195, 396, 31}}, {"shmdt", {67, 197, 398, 67}}, {"shmget", {29, 194, 395, 29}},
    {"shutdown", {48, 210, 373, 48}}, {"sigaction", {-1, -1, 67, -1}}, {"sigaltstack", {131, 132, 186, 525}},
    {"signal", {-1, -1, 48, -1}}, {"signalfd", {282, -1, 321, 282}}, {"signalfd4", {289, 74, 327, 289}},
    {"sigpending", {-1, -1, 73, -1}}, {"sigprocmask", {-1, -1, 126, -1}}, {"sigreturn", {-1, -1, 119, -1}},
    {"sigsuspend", {-1, -1, 72, -1}}, {"socket", {41, 198, 359, 41}}, {"socketcall", {-1, -1, 102, -1}},
    {"socketpair", {53, 199, 360, 53}}, {"splice", {275, 76, 313, 275}}, {"ssetmask", {-1, -1, 69, -1}},
    {"stat", {4, -1, 106, 4}}, {"stat64", {-1, -1, 195, -1}}, {"statfs", {137, 43, 99, 137}},
    {"statfs64", {-1, -1, 268, -1}}, {"statmount", {457, 457, 457, 457}}, {"statx", {332, 291, 383, 332}},
    {"stime", {-1, -1, 25, -1}}, {"stty", {-1, -1, 31, -1}}, {"swapoff", {168, 225, 115, 168}},
    {"swapon", {167, 224, 87, 167}}, {"symlink", {88, -1, 83, 88}}, {"symlinkat", {266, 36, 304, 266}},
    {"sync", {162, 81, 36, 162}}, {"sync_file_range", {277, 84, 314, 277}}, {"syncfs", {306, 267, 344, 306}},
    {"sysfs", {139, -1, 135, 139}}, {"sysinfo", {99, 179, 116, 99}}, {"syslog", {103, 116, 103, 103}},
    {"tee", {276, 77, 315, 276}}, {"tgkill", {234, 131, 270, 234}}, {"time", {201, -1, 13, 201}},
    {"timer_create", {222, 107, 259, 526}}, {"timer_delete", {226, 111, 263, 226}},
    {"timer_getoverrun", {225, 109, 262, 225}}, {"timer_gettime", {224, 108, 261, 224}},
    {"timer_gettime64", {-1, -1, 408, -1}}, {"timer_settime", {223, 110, 260, 223}},
    {"timer_settime64", {-1, -1, 409, -1}}, {"timerfd_create", {283, 85, 322, 283}},
    {"timerfd_gettime", {287, 87, 326, 287}}, {"timerfd_gettime64", {-1, -1, 410, -1}},
    {"timerfd_settime", {286, 86, 325, 286}}, {"timerfd_settime64", {-1, -1, 411, -1}},
    {"times", {100, 153, 43, 100}}, {"tkill", {200, 130, 238, 200}}, {"truncate", {76, 45, 92, 76}},
    {"truncate64", {-1, -1, 193, -1}}, {"tuxcall", {184, -1, -1, 184}}, {"ugetrlimit", {-1, -1, 191, -1}},
    {"ulimit", {-1, -1, 58, -1}}, {"umask", {95, 166, 60, 95}}, {"umount", {-1, -1, 22, -1}},
    {"umount2", {166, 39, 52, 166}}, {"uname", {63, 160, 122, 63}}, {"unlink", {87, -1, 10, 87}},
    {"unlinkat", {263, 35, 301, 263}}, {"unshare", {272, 97, 310, 272}}, {"uprobe", {336, -1, -1, -1}},
    {"uretprobe", {335, -1, -1, -1}}, {"uselib", {134, -1, 86, -1}}, {"userfaultfd", {323, 282, 374, 323}},
    {"ustat", {136, -1, 62, 136}}, {"utime", {132, -1, 30, 132}}, {"utimensat", {280, 88, 320, 280}},
    {"utimensat_time64", {-1, -1, 412, -1}}, {"utimes", {235, -1, 271, 235}}, {"vfork", {58, -1, 190, 58}},
    {"vhangup", {153, 58, 111, 153}}, {"vm86", {-1, -1, 166, -1}}, {"vm86old", {-1, -1, 113, -1}},
    {"vmsplice", {278, 75, 316, 532}}, {"vserver", {236, -1, 273, -1}}, {"wait4", {61, 260, 114, 61}},
    {"waitid", {247, 95, 284, 529}}, {"waitpid", {-1, -1, 7, -1}}, {"write", {1, 64, 4, 1}},
    {"writev", {20, 66, 146, 516}},
};
// clang-format on

} // namespace

std::string call_name(Abi abi, std::uint32_t number) {
    const auto name = name_of(abi, number);
    return name.empty() ? "syscall " + std::to_string(number) : std::string{name};
}

std::optional<std::uint32_t> number_of(Abi abi, std::string_view name) {
    if (name.substr(0, 8) == "syscall ") {
        return static_cast<std::uint32_t>(std::stoul(std::string{name.substr(8)}));
    }
    const auto* line = std::lower_bound(std::begin(table), std::end(table), name,
                                        [](const Line& l, std::string_view n) { return l.name < n; });
    if (line == std::end(table) || line->name != name) {
        return std::nullopt;
    }
    const auto number = line->numbers.at(static_cast<std::size_t>(abi));
    if (number < 0) {
        return std::nullopt;
    }
    return static_cast<std::uint32_t>(number) | (abi == Abi::x32 ? x32_bit : 0U);
}

std::string_view name_of(Abi abi, std::uint32_t number) {
    for (const auto& line : table) {
        if (number_of(abi, line.name) == number) {
            return line.name;
        }
    }
    return {};
}

std::vector<std::string_view> all_names(Abi abi) {
    std::vector<std::string_view> names;
    for (const auto& line : table) {
        if (line.numbers.at(static_cast<std::size_t>(abi)) >= 0) {
            names.push_back(line.name);
        }
    }
    return names;
}

} // namespace cloister::policy
