// Answer is a server for the tests of published ports: to what it gets, over TCP
// on port 80 or UDP on port 81, it answers the same.
package main

import (
	"fmt"
	"net"
	"os"
)

func main() {
	packets, err := net.ListenPacket("udp", ":81")
	exitOn(err)
	listener, err := net.Listen("tcp", ":80")
	exitOn(err)
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, from, err := packets.ReadFrom(buf)
			exitOn(err)
			packets.WriteTo(buf[:n], from)
		}
	}()
	fmt.Println("ready")
	for {
		conn, err := listener.Accept()
		exitOn(err)
		go func() {
			defer conn.Close()
			buf := make([]byte, 1<<16)
			for {
				n, err := conn.Read(buf)
				if err != nil {
					return
				}
				conn.Write(buf[:n])
			}
		}()
	}
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
