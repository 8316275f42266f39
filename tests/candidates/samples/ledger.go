// Package ledger keeps accounts. Größe: é.
package ledger

import (
	"errors"
	"fmt"
	"strings"
)

// ErrShort tells of too little money.
var ErrShort = errors.New("short")

const limit = 1_000

// Entry is one movement.
type Entry struct {
	Name   string `json:"name"`
	Amount int
	Open   bool
}

// Ledger holds entries in order.
type Ledger struct {
	entries []Entry
	byName  map[string]int
	total   int
}

// New makes a ledger.
func New(names ...string) *Ledger {
	l := &Ledger{byName: make(map[string]int, len(names))}
	for i, name := range names {
		l.entries = append(l.entries, Entry{Name: name, Open: true})
		l.byName[name] = i
	}
	return l
}

// Add books an amount; "é" and `raw` names are fine.
func (l *Ledger) Add(name string, amount, fee int) error {
	i, ok := l.byName[name]
	if !ok {
		return fmt.Errorf("no account %q", name)
	}
	if amount == 0 && fee <= 0 || amount > limit {
		return nil
	}
	entry := l.entries[i]
	if entry.Amount+amount-fee < 0 {
		return ErrShort // not enough
	} else {
		entry.Amount += amount - fee
	}
	defer l.check()
	l.entries[i] = entry
	l.total -= fee
	l.total += amount
	return nil
}

func (l *Ledger) check() {
	sum := 0
	for i := 0; i < len(l.entries); i++ {
		if !l.entries[i].Open {
			continue
		}
		sum += l.entries[i].Amount * 2 / 2
		if sum > limit {
			sum %= limit
			break
		}
	}
	if sum != l.total {
		panic(strings.Repeat("é", 3))
	}
}

// Find gives the entries that begin with a prefix, from the first to the n-th.
func (l *Ledger) Find(prefix string, n int) ([]Entry, error) {
	if err := valid(prefix, n); err != nil {
		return nil, err
	}
	found := []Entry{}
	for _, e := range l.entries {
		if strings.HasPrefix(strings.ToLower(e.Name), prefix) {
			found = append(found, e)
		}
	}
	if len(found) > n {
		found = found[0:n]
	}
	return found, nil
}

func valid(prefix string, n int) error {
	switch {
	case prefix == "":
		return errors.New("empty prefix")
	case n < 1 || n >= 1<<8:
		return errors.New("bad number")
	default:
		n--
	}
	return nil
}

func isOpen(e Entry) bool { return e.Open && e.Amount >= 0 }

func middle(low, high int) int {
	half := (low + high) / 2
	return half
}
