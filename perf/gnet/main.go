// A gnet server to compare with: gnet ROLE [LOOPS]. It prints the port that it listens on.
package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/panjf2000/gnet/v2"
)

const blockSize = 256 * 1024 // what a source answers a byte with, as peers/roles.py

var block = make([]byte, blockSize)

type server struct {
	gnet.BuiltinEventEngine
	traffic   func(gnet.Conn) gnet.Action
	everybody map[gnet.Conn]struct{} // of a broadcast; one loop, so no lock
	port      int
}

func (s *server) OnBoot(gnet.Engine) gnet.Action {
	fmt.Println(s.port)
	return gnet.None
}

func (s *server) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	if s.everybody != nil {
		s.everybody[c] = struct{}{}
	}
	return nil, gnet.None
}

func (s *server) OnClose(c gnet.Conn, _ error) gnet.Action {
	if s.everybody != nil {
		delete(s.everybody, c)
	}
	return gnet.None
}

func (s *server) OnTraffic(c gnet.Conn) gnet.Action {
	return s.traffic(c)
}

func echo(c gnet.Conn) gnet.Action {
	data, _ := c.Next(-1)
	_, _ = c.Write(data)
	return gnet.None
}

func sink(c gnet.Conn) gnet.Action {
	_, _ = c.Discard(-1)
	return gnet.None
}

func source(c gnet.Conn) gnet.Action {
	data, _ := c.Next(-1)
	for range data {
		_, _ = c.Write(block)
	}
	return gnet.None
}

func (s *server) broadcast(c gnet.Conn) gnet.Action {
	data, _ := c.Next(-1)
	for each := range s.everybody {
		_, _ = each.Write(data)
	}
	return gnet.None
}

// freePort is one that nobody has now: gnet does not tell which one it got.
func freePort(network string) int {
	if network == "udp" {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			fail(err)
		}
		defer conn.Close()
		return conn.LocalAddr().(*net.UDPAddr).Port
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

func fail(err any) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func newServer(role string) *server {
	s := &server{}
	switch role {
	case "echo", "udp":
		s.traffic = echo
	case "sink":
		s.traffic = sink
	case "source":
		s.traffic = source
	case "http":
		s.traffic = serveHTTP
	case "broadcast":
		s.everybody = make(map[gnet.Conn]struct{})
		s.traffic = s.broadcast
	default:
		fail("usage: gnet echo|udp|sink|source|broadcast|http [LOOPS]")
	}
	return s
}

func main() {
	role, loops, network := "", 1, "tcp"
	if len(os.Args) > 1 {
		role = os.Args[1]
	}
	if len(os.Args) > 2 {
		loops, _ = strconv.Atoi(os.Args[2])
	}
	if role == "udp" {
		network = "udp"
	}
	// What nobody wrote for: gnet ends by itself on no signal, and must not linger.
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGTERM)
	go func() { <-ends; os.Exit(0) }()
	s := newServer(role)
	s.port = freePort(network)
	err := gnet.Run(s, fmt.Sprintf("%s://127.0.0.1:%d", network, s.port),
		gnet.WithNumEventLoop(loops), gnet.WithTCPNoDelay(gnet.TCPNoDelay))
	if err != nil {
		fail(err)
	}
}
