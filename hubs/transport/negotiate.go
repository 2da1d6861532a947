package transport

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode"
)

// highestVersion of negotiate is what clients that ask for more get.
const highestVersion = 1

// negotiation is the answer to a negotiate request: fields in the order in
// which ASP.NET Core writes them (protocol §1.2).
type negotiation struct {
	StatefulReconnect   bool              `json:"useStatefulReconnect,omitempty"`
	Version             int               `json:"negotiateVersion"`
	ConnectionID        string            `json:"connectionId"`
	ConnectionToken     string            `json:"connectionToken,omitempty"`
	AvailableTransports []transportFormat `json:"availableTransports"`
}

type transportFormat struct {
	Transport string   `json:"transport"`
	Formats   []string `json:"transferFormats"`
}

type negotiateError struct {
	Error string `json:"error"`
}

// negotiate gives a client the token of a new connection.
func (h *Handler) negotiate(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		answer(w, http.StatusMethodNotAllowed, "")
		return
	}
	version, refusal := h.version(r)
	if refusal != "" {
		answerJSON(w, negotiateError{refusal})
		return
	}
	stateful := h.options.AllowStatefulReconnects && asksStateful(r)
	e, err := h.registry.negotiate(h.guestOf(r), version > 0, stateful, h.options.DisconnectTimeout)
	if err != nil {
		h.refuse(w, r, err, unbound)
		return
	}
	result := negotiation{StatefulReconnect: stateful, Version: version, ConnectionID: e.id, AvailableTransports: h.options.Transports.offered()}
	if version > 0 {
		result.ConnectionToken = e.token
	}
	answerJSON(w, result)
}

// version finds the negotiate version to speak, or what to refuse the client
// with (protocol §1.1).
func (h *Handler) version(r *http.Request) (version int, refusal string) {
	asked := 0
	if text, present := queryValue(r.URL.RawQuery, "negotiateVersion"); present {
		number, err := strconv.ParseInt(strings.Trim(text, "\t\n\v\f\r "), 10, 32)
		if err != nil {
			return 0, "The client requested a non-integer protocol version."
		}
		asked = int(number)
	}
	if asked < h.options.MinimumProtocolVersion {
		return 0, fmt.Sprintf("The client requested version '%d', but the server does not support this version.", asked)
	}
	return min(asked, highestVersion), ""
}

// asksStateful says whether a client wants to be able to resume: what .NET
// reads as true counts (protocol §1.1).
func asksStateful(r *http.Request) bool {
	text, _ := queryValue(r.URL.RawQuery, "useStatefulReconnect")
	blank := func(c rune) bool { return c == 0 || unicode.IsSpace(c) }
	return strings.EqualFold(strings.TrimFunc(text, blank), "true")
}

func answerJSON(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic("transport: a negotiate answer has no value that could fail to encode: " + err.Error())
	}
	answerAs(w, "application/json", http.StatusOK, string(body))
}
