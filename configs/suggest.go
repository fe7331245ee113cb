package configs

import (
	"slices"
	"strings"
)

// synonyms are what the Ansible role linux-system-roles.timesync and other daemons' files say.
var synonyms = map[string]string{
	"hostname":   "address",
	"host":       "address",
	"number":     "domain",
	"interfaces": "name",
	"delay":      "delay_mechanism",
	"log_level":  "level",
}

// suggest finds the key that was probably meant by an unknown one: a neighbour that is spelt
// nearly alike, or the same key of another table.
func (d decoder) suggest(known []field, name, rule string) string {
	if word, ok := synonyms[name]; ok && slices.ContainsFunc(known, func(f field) bool { return f.name == word }) {
		return word
	}
	best, bestDistance := "", max(1, len(name)/3)+1
	for _, f := range known {
		if n := editDistance(normal(name), normal(f.name)); n < bestDistance {
			best, bestDistance = f.name, n
		}
	}
	if best != "" {
		return best
	}
	for _, r := range Schema() {
		if strings.HasSuffix(r.Key, "."+name) && r.Key != member(rule, name) {
			return r.Key
		}
	}
	return ""
}

// normal is a key without what people spell in different ways.
func normal(name string) string {
	name = strings.ToLower(strings.ReplaceAll(name, "-", "_"))
	return strings.TrimSuffix(name, "s")
}

// editDistance counts the bytes to insert, delete or replace to turn a into b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
