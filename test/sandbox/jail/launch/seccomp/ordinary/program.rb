require "open3"
require "socket"
require "tempfile"
require "json"
require "digest"
require "securerandom"
require "fileutils"

raise unless 4.times.map { |n| Thread.new { n * 2 } }.map(&:value) == [0, 2, 4, 6]
pid = fork { exit! 3 }
Process.wait(pid)
raise unless $?.exitstatus == 3
output, status = Open3.capture2("tr a-z A-Z", stdin_data: "x")
raise unless output == "X" && status.success?
server = TCPServer.new("127.0.0.1", 0)
thread = Thread.new { server.accept.close }
TCPSocket.new("127.0.0.1", server.addr[1]).read
thread.join
UNIXSocket.pair.each(&:close)
Tempfile.create { |file| file.write("x"); file.flush; file.flock(File::LOCK_EX) }
File.mkfifo("/tmp/fifo")
FileUtils.mkdir_p("/tmp/a/b")
Dir.glob("/tmp/**/*").sort
FileUtils.rm_r("/tmp/a")
reader, writer = IO.pipe
writer.write("y")
raise unless IO.select([reader], nil, nil, 1)
trap("USR1") {}
Process.kill("USR1", Process.pid)
JSON.generate({ a: Digest::SHA256.hexdigest("a"), b: SecureRandom.hex, c: Process.clock_gettime(Process::CLOCK_MONOTONIC) })
Fiber.new { Fiber.yield }.resume
GC.start
puts "done"
