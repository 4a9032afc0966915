/* SPDX-License-Identifier: MIT
 * What ./generate reads besides the headers: entry points of system calls that no installed header declares,
 * from the files of Linux 6.12 named above them. They come before the headers' declarations of the same name.
 */

/* arch/x86/kernel/{ioport,ldt,tls,process_64,signal_64,signal_32}.c */
asmlinkage long sys_iopl(unsigned int level);
asmlinkage long sys_modify_ldt(int func, void* ptr, unsigned long bytecount);
asmlinkage long sys_set_thread_area(struct user_desc* u_info);
asmlinkage long sys_get_thread_area(struct user_desc* u_info);
asmlinkage long sys_arch_prctl(int option, unsigned long arg2);
asmlinkage long compat_sys_arch_prctl(int option, unsigned long arg2);
asmlinkage long sys_rt_sigreturn(void);
asmlinkage long compat_sys_rt_sigreturn(void);
asmlinkage long compat_sys_x32_rt_sigreturn(void);
asmlinkage long compat_sys_sigreturn(void);

/* kernel/sys.c, fs/aio.c, kernel/fork.c, fs/notify/fanotify/fanotify_user.c: declared without names */
asmlinkage long compat_sys_old_getrlimit(unsigned int resource, struct compat_rlimit* rlim);
asmlinkage long sys_io_submit(aio_context_t ctx_id, long nr, struct iocb** iocbpp);
asmlinkage long sys_clone(unsigned long clone_flags, unsigned long newsp, int* parent_tidptr,
                          int* child_tidptr, unsigned long tls);
asmlinkage long compat_sys_fanotify_mark(int fanotify_fd, unsigned int flags, u32 mask_lo, u32 mask_hi,
                                         int fd, const char* pathname);

/* kernel/fork.c where CONFIG_CLONE_BACKWARDS is set, as arm64 does; ./generate gives it this name */
asmlinkage long backwards_sys_clone(unsigned long clone_flags, unsigned long newsp, int* parent_tidptr,
                                    unsigned long tls, int* child_tidptr);

/* arch/x86/kernel/sys_ia32.c: what i386 calls on a kernel for x86_64 */
asmlinkage long sys_ia32_truncate64(const char* filename, unsigned long offset_low,
                                    unsigned long offset_high);
asmlinkage long sys_ia32_ftruncate64(unsigned int fd, unsigned long offset_low, unsigned long offset_high);
asmlinkage long sys_ia32_pread64(unsigned int fd, char* ubuf, u32 count, u32 poslo, u32 poshi);
asmlinkage long sys_ia32_pwrite64(unsigned int fd, const char* ubuf, u32 count, u32 poslo, u32 poshi);
asmlinkage long sys_ia32_fadvise64_64(int fd, __u32 offset_low, __u32 offset_high, __u32 len_low,
                                      __u32 len_high, int advice);
asmlinkage long sys_ia32_readahead(int fd, unsigned int off_lo, unsigned int off_hi, size_t count);
asmlinkage long sys_ia32_sync_file_range(int fd, unsigned int off_low, unsigned int off_hi,
                                         unsigned int n_low, unsigned int n_hi, int flags);
asmlinkage long sys_ia32_fadvise64(int fd, unsigned int offset_lo, unsigned int offset_hi, size_t len,
                                   int advice);
asmlinkage long sys_ia32_fallocate(int fd, int mode, unsigned int offset_lo, unsigned int offset_hi,
                                   unsigned int len_lo, unsigned int len_hi);
asmlinkage long compat_sys_ia32_stat64(const char* filename, struct stat64* statbuf);
asmlinkage long compat_sys_ia32_lstat64(const char* filename, struct stat64* statbuf);
asmlinkage long compat_sys_ia32_fstat64(unsigned int fd, struct stat64* statbuf);
asmlinkage long compat_sys_ia32_fstatat64(unsigned int dfd, const char* filename, struct stat64* statbuf,
                                          int flag);
asmlinkage long compat_sys_ia32_mmap(struct mmap_arg_struct32* arg);
asmlinkage long compat_sys_ia32_clone(unsigned long clone_flags, unsigned long newsp, int* parent_tidptr,
                                      unsigned long tls, int* child_tidptr);

/* fs/xattr.c, fs/namespace.c, fs/file_attr.c, arch/x86/kernel/uprobes.c of Linux 6.18: calls that 6.12 has
 * not */
asmlinkage long sys_uprobe(void);
asmlinkage long sys_uretprobe(void);
asmlinkage long sys_setxattrat(int dfd, const char* pathname, unsigned int at_flags, const char* name,
                               const struct xattr_args* uargs, size_t usize);
asmlinkage long sys_getxattrat(int dfd, const char* pathname, unsigned int at_flags, const char* name,
                               struct xattr_args* uargs, size_t usize);
asmlinkage long sys_listxattrat(int dfd, const char* pathname, unsigned int at_flags, char* list,
                                size_t size);
asmlinkage long sys_removexattrat(int dfd, const char* pathname, unsigned int at_flags, const char* name);
asmlinkage long sys_open_tree_attr(int dfd, const char* filename, unsigned int flags,
                                   struct mount_attr* uattr, size_t usize);
asmlinkage long sys_file_getattr(int dfd, const char* filename, struct file_attr* ufattr, size_t usize,
                                 unsigned int at_flags);
asmlinkage long sys_file_setattr(int dfd, const char* filename, struct file_attr* ufattr, size_t usize,
                                 unsigned int at_flags);
