package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	var group sync.WaitGroup
	for range 100 {
		group.Add(1)
		go func() { defer group.Done(); time.Sleep(time.Millisecond) }()
	}
	group.Wait()
	output, err := exec.Command("/bin/echo", "x").Output()
	must(err)
	if string(output) != "x\n" {
		must(fmt.Errorf("echo: %q", output))
	}
	// The library asks for MPTCP first, and takes TCP when there is none.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	go func() { connection, _ := listener.Accept(); connection.Close() }()
	connection, err := net.Dial("tcp", listener.Addr().String())
	must(err)
	_, err = io.ReadAll(connection)
	must(err)
	folder, err := os.MkdirTemp("", "x")
	must(err)
	must(os.WriteFile(folder+"/a", []byte("x"), 0o600))
	must(os.RemoveAll(folder))
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	must(syscall.Kill(os.Getpid(), syscall.SIGUSR1))
	<-signals
	fmt.Println("done")
}
