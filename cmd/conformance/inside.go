package main

import (
	"encoding/json"
	"net/http"
	"runtime"
	"runtime/pprof"
)

// inside is what the process holds, for tests that look for what is left behind.
type inside struct {
	Goroutines  int    `json:"goroutines"`
	Heap        uint64 `json:"heap"` // bytes in use after a collection
	Connections int    `json:"connections"`
}

// serveInside offers what the process holds, and where its goroutines are.
func (s *server) serveInside(mux *http.ServeMux) {
	mux.HandleFunc("GET /inside", func(w http.ResponseWriter, _ *http.Request) {
		runtime.GC()
		runtime.GC() // what is in pools survives one
		var memory runtime.MemStats
		runtime.ReadMemStats(&memory)
		connections := s.reference.Stats().Connections + s.chat.Stats().Connections
		json.NewEncoder(w).Encode(inside{runtime.NumGoroutine(), memory.HeapAlloc, connections})
	})
	mux.HandleFunc("GET /inside/goroutines", func(w http.ResponseWriter, _ *http.Request) {
		pprof.Lookup("goroutine").WriteTo(w, 1)
	})
}
