package view

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/duration"
)

// A Mood says whether a cell is good news.
type Mood uint8

// The moods.
const (
	Plain Mood = iota
	Good
	Doubtful
	Bad
)

// A Cell is a text and what to think of it.
type Cell struct {
	Text string
	Mood Mood
}

// MarshalText says what is in the cell: programs see no colours.
func (c Cell) MarshalText() ([]byte, error) { return []byte(c.Text), nil }

// Column is a column of a Table.
type Column struct {
	Name string
	// Wide columns are shown with -o wide alone.
	Wide bool
}

// A Table is what is printed.
type Table struct {
	Columns []Column
	Rows    [][]Cell
	// Empty is said where there are no rows.
	Empty string
}

// Style is how tables are printed.
type Style struct {
	Wide, Color bool
}

var escapes = map[Mood]string{Good: "\x1b[32m", Doubtful: "\x1b[33m", Bad: "\x1b[31m"}

// Print prints the table. Columns are separated by three blanks, as kubectl does.
func (t Table) Print(w io.Writer, s Style) error {
	if len(t.Rows) == 0 {
		_, err := fmt.Fprintln(w, t.Empty)
		return err
	}
	var shown []int
	for i, c := range t.Columns {
		if !c.Wide || s.Wide {
			shown = append(shown, i)
		}
	}
	width := make([]int, len(t.Columns))
	for _, i := range shown {
		width[i] = utf8.RuneCountInString(t.Columns[i].Name)
		for _, row := range t.Rows {
			width[i] = max(width[i], utf8.RuneCountInString(row[i].Text))
		}
	}
	var b strings.Builder
	line := func(cell func(i int) Cell) {
		for n, i := range shown {
			c := cell(i)
			escape := escapes[c.Mood]
			colored := s.Color && escape != ""
			if colored {
				b.WriteString(escape)
			}
			b.WriteString(c.Text)
			if colored {
				b.WriteString("\x1b[0m")
			}
			if n < len(shown)-1 {
				b.WriteString(strings.Repeat(" ", width[i]-utf8.RuneCountInString(c.Text)+3))
			}
		}
		b.WriteByte('\n')
	}
	line(func(i int) Cell { return Cell{Text: t.Columns[i].Name} })
	for _, row := range t.Rows {
		line(func(i int) Cell { return row[i] })
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func cell(format string, args ...any) Cell { return Cell{Text: fmt.Sprintf(format, args...)} }

func (m Mood) cell(text string) Cell { return Cell{Text: text, Mood: m} }

// Ago is how long ago something was, as kubectl says it.
func Ago(now, then time.Time) string {
	if then.IsZero() {
		return "-"
	}
	return duration.HumanDuration(now.Sub(then))
}
