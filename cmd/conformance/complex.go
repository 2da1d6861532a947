package main

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// UUID is what .NET calls a Guid.
type UUID = uuid.UUID

// Complex has a member of each kind. JSON names its members in camel case,
// MessagePack as they stand here.
type Complex struct {
	Text    *string          `json:"text"`
	Numbers []int32          `json:"numbers"`
	Bytes   []byte           `json:"bytes"`
	When    time.Time        `json:"when"`
	Id      UUID             `json:"id"`
	Ratio   float64          `json:"ratio"`
	Flag    bool             `json:"flag"`
	Inner   *Complex         `json:"inner"`
	Map     map[string]int32 `json:"map"`
}

// MarshalJSON writes a time that was never set as .NET does: without a zone.
func (c Complex) MarshalJSON() ([]byte, error) {
	type plain Complex // without this method
	if !c.When.IsZero() {
		return json.Marshal(plain(c))
	}
	return json.Marshal(struct {
		plain
		When string `json:"when"`
	}{plain(c), "0001-01-01T00:00:00"})
}
