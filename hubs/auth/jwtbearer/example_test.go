package jwtbearer_test

import (
	"log"

	"signalrd/hubs/auth/jwtbearer"
)

// Keys of an issuer that changes them from time to time.
func ExampleFromURL() {
	keys, err := jwtbearer.FromURL("https://login.example.com/jwks.json", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer keys.Close()
	scheme, err := jwtbearer.New(jwtbearer.Options{
		Keys:      keys,
		Issuers:   []string{"https://login.example.com"},
		Audiences: []string{"office"},
	})
	if err != nil {
		log.Fatal(err)
	}
	_ = scheme // is for hubs.Endpoint.Authenticate
}
