// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0
//go:build unix

package main

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
)

// chart is a picture: lines over a logarithmic axis, from zero up, so that
// what grows in proportion to the logarithm or not at all looks like it.
type chart struct {
	file, title, unit, across string
	x                         []float64
	lines                     []line
}

type line struct {
	name string
	y    []float64
}

// Measures of the picture.
const (
	width, height            = 640, 320
	left, right, top, bottom = 70, 20, 50, 50
)

var colours = []string{"#1f6feb", "#d1570c", "#6e7781"}

func (c *chart) svg() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12" role="img" aria-label="%s">`+"\n", width, height, c.title)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text x="%d" y="20" font-size="15" fill="#111">%s</text>`+"\n", left, c.title)
	fmt.Fprintf(&b, `<text x="%d" y="38" fill="#555">%s</text>`+"\n", left, c.unit)
	step, most := c.scale()
	y := func(v float64) float64 { return height - bottom - v/most*(height-top-bottom) }
	for v := 0.0; v <= most*1.0001; v += step {
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end" fill="#555">%s</text>`+"\n",
			left, y(v), width-right, left-6, y(v)+4, figure(v))
	}
	low, high := math.Log(c.x[0]), math.Log(c.x[len(c.x)-1])
	x := func(v float64) float64 { return left + 10 + (math.Log(v)-low)/(high-low)*(width-left-right-20) }
	for _, v := range c.x {
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle" fill="#555">%s</text>`+"\n", x(v), height-bottom+18, number(v))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle" fill="#555">%s</text>`+"\n", (left+width-right)/2, height-10, c.across)
	for i, l := range c.lines {
		b.WriteString(`<polyline fill="none" stroke-width="2" stroke="` + colours[i] + `" points="`)
		for k, v := range l.y {
			fmt.Fprintf(&b, "%.1f,%.1f ", x(c.x[k]), y(v))
		}
		b.WriteString("\"/>\n")
		for k, v := range l.y {
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"><title>%s: %s</title></circle>`+"\n", x(c.x[k]), y(v), colours[i], number(c.x[k]), figure(v))
		}
		fmt.Fprintf(&b, `<text x="%d" y="38" text-anchor="end" fill="%s">%s</text>`+"\n", width-right-(len(c.lines)-1-i)*130, colours[i], l.name)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// scale is the distance of the lines across, a round number, and the uppermost.
func (c *chart) scale() (step, most float64) {
	for _, l := range c.lines {
		for _, v := range l.y {
			most = max(most, v)
		}
	}
	step = math.Pow(10, math.Floor(math.Log10(most)))
	for _, part := range []float64{5, 2} {
		if most/step < part {
			step /= 10 / part
			break
		}
	}
	if most/step > 8 {
		step *= 2
	}
	return step, math.Ceil(most/step) * step
}

// number writes a place on the axis, figure a value.
func number(v float64) string {
	for _, unit := range []struct {
		size float64
		name string
	}{{1e6, "M"}, {1e3, "k"}} {
		if v >= unit.size {
			return strconv.FormatFloat(math.Round(v/unit.size*10)/10, 'f', -1, 64) + unit.name
		}
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

func figure(v float64) string {
	switch {
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
	}
	return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64)
}
