package transport

import (
	"net/http"
	"slices"

	"github.com/rs/cors"
)

// CORS lets pages from the listed origins use next, with credentials, any
// method and any header (protocol §1.4). It goes around authentication: preflight requests
// carry no credentials, and a page should be able to read a 401. A
// preflight request is answered 204 whoever asks; other origins get no CORS
// headers. CORS panics on an origin that [ParseOrigins] refuses.
//
// As in ASP.NET Core the responses of a list with a single origin bear no
// Vary header: the origin they name depends on nobody.
func CORS(list []string, next http.Handler) http.Handler {
	allowed := mustParse(list)
	single := len(allowed.list) == 1 && !allowed.any
	checked := cors.New(cors.Options{
		AllowOriginFunc: allowed.lists,
		AllowedMethods: []string{
			http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
			http.MethodDelete, http.MethodOptions, http.MethodConnect, http.MethodTrace,
		},
		AllowedHeaders:   []string{"*"},
		AllowCredentials: true,
	}).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if single {
			dropVaryOrigin(w.Header())
		}
		next.ServeHTTP(w, r)
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Origin") == "" {
			next.ServeHTTP(w, r) // nobody to tell; OPTIONS is next's to answer
			return
		}
		checked.ServeHTTP(w, r)
	})
}

// dropVaryOrigin takes out what cors has added, the last value.
func dropVaryOrigin(header http.Header) {
	vary := header["Vary"]
	if last := len(vary) - 1; last >= 0 && vary[last] == "Origin" {
		header["Vary"] = slices.Clone(vary[:last])
	}
	if len(header["Vary"]) == 0 {
		delete(header, "Vary")
	}
}
