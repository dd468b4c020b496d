// Imports each function of WASI preview 1 as the C library declares it.
#include <stdint.h>
#include <wasi/api.h>

#define USE(name) (uintptr_t)__wasi_##name
static uintptr_t volatile functions[] = {
    USE(args_get), USE(args_sizes_get), USE(clock_res_get), USE(clock_time_get), USE(environ_get), USE(environ_sizes_get),
    USE(fd_advise), USE(fd_allocate), USE(fd_close), USE(fd_datasync), USE(fd_fdstat_get), USE(fd_fdstat_set_flags),
    USE(fd_fdstat_set_rights), USE(fd_filestat_get), USE(fd_filestat_set_size), USE(fd_filestat_set_times), USE(fd_pread),
    USE(fd_prestat_dir_name), USE(fd_prestat_get), USE(fd_pwrite), USE(fd_read), USE(fd_readdir), USE(fd_renumber),
    USE(fd_seek), USE(fd_sync), USE(fd_tell), USE(fd_write), USE(path_create_directory), USE(path_filestat_get),
    USE(path_filestat_set_times), USE(path_link), USE(path_open), USE(path_readlink), USE(path_remove_directory),
    USE(path_rename), USE(path_symlink), USE(path_unlink_file), USE(poll_oneoff), USE(proc_exit), USE(random_get),
    USE(sched_yield), USE(sock_accept), USE(sock_recv), USE(sock_send), USE(sock_shutdown),
};

__attribute__((export_name("handle_request"))) int64_t handle_request(void) { return functions[0] == 0 ? 0 : 1; }
__attribute__((export_name("handle_response"))) void handle_response(int context, int error) {}
