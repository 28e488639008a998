package main

import (
	"bytes"
	"fmt"
	"net/http"
	"time"

	"github.com/panjf2000/gnet/v2"
)

const greeting = "Hello from ringnet!\n"

var (
	headEnd    = []byte("\r\n\r\n")
	answer     []byte // made once a second; one loop, so no lock
	answeredAt int64
)

func currentAnswer() []byte {
	now := time.Now()
	if now.Unix() != answeredAt {
		answeredAt = now.Unix()
		answer = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nDate: %s\r\nServer: gnet!!!\r\n"+
			"Content-Type: text/plain\r\nContent-Length: %d\r\nConnection: keep-alive\r\n\r\n%s",
			now.UTC().Format(http.TimeFormat), len(greeting), greeting)
	}
	return answer
}

// target is the second word of the request line of a GET, or nil. Every header's name and value
// is looked at, as httptools does for the others.
func target(head []byte) []byte {
	line, headers, _ := bytes.Cut(head, []byte("\r\n"))
	method, rest, ok := bytes.Cut(line, []byte(" "))
	if !ok || string(method) != "GET" {
		return nil
	}
	path, version, ok := bytes.Cut(rest, []byte(" "))
	if !ok || string(version) != "HTTP/1.1" {
		return nil
	}
	for len(headers) > 0 {
		var header []byte
		header, headers, _ = bytes.Cut(headers, []byte("\r\n"))
		if name, _, ok := bytes.Cut(header, []byte(":")); !ok || len(name) == 0 {
			return nil
		}
	}
	return path
}

// serveHTTP answers what is complete with one write, and leaves the rest for the next time.
func serveHTTP(c gnet.Conn) gnet.Action {
	data, _ := c.Peek(-1)
	var out []byte
	taken := 0
	for {
		head, _, ok := bytes.Cut(data[taken:], headEnd)
		if !ok {
			break
		}
		if string(target(head)) != "/" {
			return gnet.Close
		}
		taken += len(head) + len(headEnd)
		out = append(out, currentAnswer()...)
	}
	if taken > 0 { // gnet takes 0 for all
		_, _ = c.Discard(taken)
		_, _ = c.Write(out)
	}
	return gnet.None
}
