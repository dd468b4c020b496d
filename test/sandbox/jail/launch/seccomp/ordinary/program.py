import asyncio, concurrent.futures, ctypes, fcntl, hashlib, json, locale, mmap, multiprocessing, os, pathlib, random
import resource, select, selectors, shutil, signal, socket, sqlite3, ssl, subprocess, sys, tempfile, threading, time, uuid


def double(number):
    return number * 2


async def main():
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    assert await reader.read() == b""
    writer.close()
    server.close()
    process = await asyncio.create_subprocess_exec("cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert (await process.communicate(b"x"))[0] == b"x"
    assert await asyncio.to_thread(double, 2) == 4


if __name__ == "__main__":
    folder = pathlib.Path(tempfile.mkdtemp())
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(double, range(20))) == [2 * n for n in range(20)]
    for method in ["fork", "spawn", "forkserver"]:
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(double, [1, 2]) == [2, 4]
    assert subprocess.run(["sh", "-c", "echo $1", "sh", "y"], capture_output=True, start_new_session=True).stdout == b"y\n"
    asyncio.run(main())
    with sqlite3.connect(folder / "db") as db:
        db.execute("pragma journal_mode = wal")
        db.execute("create table t (a)")
        db.executemany("insert into t values (?)", [(n,) for n in range(100)])
        assert db.execute("select sum(a) from t").fetchone() == (4950,)
    os.mkfifo(folder / "fifo")
    with open(folder / "map", "w+b") as file:
        file.truncate(4096)
        fcntl.flock(file, fcntl.LOCK_EX)
        memory = mmap.mmap(file.fileno(), 4096)
        memory[:4] = b"data"
        memory.flush()
    shutil.copy(folder / "map", folder / "copy")
    shutil.rmtree(folder)
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    signal.pause()
    left, right = socket.socketpair()
    left.send(b"z")
    assert selectors.DefaultSelector().register(right, selectors.EVENT_READ) and right.recv(1) == b"z"
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    time.get_clock_info("monotonic"), time.sleep(0.001), uuid.uuid4(), os.urandom(8), os.cpu_count(), os.uname()
    ssl.create_default_context(), hashlib.sha256(b"").digest(), json.dumps({}), locale.getlocale(), os.sched_getaffinity(0)
    os.nice(1), os.getloadavg(), os.getxattr, os.memfd_create("m"), os.eventfd(0), os.pidfd_open(os.getpid())
    assert ctypes.CDLL(None).getpid() == os.getpid()
    print("done")
