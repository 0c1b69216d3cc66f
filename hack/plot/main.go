// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command plot draws what the benchmarks measured: throughput and latency against
// load, and cost against the fleet's size. Its arguments are the SVG file that it
// writes and the files that hold the benchmarks' RESULT lines.
package main

import (
	"errors"
	"fmt"
	"image/color"
	"os"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "plot:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 {
		return errors.New("usage: plot OUT.svg RESULTS...")
	}
	values := map[string]map[string]float64{}
	for _, name := range args[1:] {
		raw, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(raw)) {
			if rest, ok := strings.CutPrefix(line, "RESULT "); ok {
				bench, result := parse(rest)
				values[bench] = result
			}
		}
	}
	panels, err := draw4(values["assign"], values["scale"])
	if err != nil {
		return err
	}
	return write(args[0], panels)
}

// parse reads a result; what is no number is left out.
func parse(line string) (bench string, result map[string]float64) {
	result = map[string]float64{}
	for pair := range strings.FieldsSeq(line) {
		key, value, _ := strings.Cut(pair, "=")
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			result[key] = n
		}
		if key == "bench" {
			bench = value
		}
	}
	return bench, result
}

// line is one line of a panel.
type line struct {
	name   string
	points plotter.XYs
}

// draw4 makes the four panels.
func draw4(assign, scale map[string]float64) ([][]*plot.Plot, error) {
	clients := func(key string) plotter.XYs {
		var points plotter.XYs
		for n := 1; n <= 1024; n++ {
			if y, ok := assign[fmt.Sprintf("curve_%d_%s", n, key)]; ok {
				points = append(points, plotter.XY{X: float64(n), Y: y})
			}
		}
		return points
	}
	hosts := func(key string) plotter.XYs {
		var points plotter.XYs
		for n := 0; ; n++ {
			x, ok := scale[fmt.Sprintf("hosts_%d", n)]
			if !ok {
				return points
			}
			points = append(points, plotter.XY{X: x, Y: scale[fmt.Sprintf("%s_%d", key, n)]})
		}
	}
	throughput, err1 := panel("Throughput against load", "clients, each waiting for a session", "sessions assigned per second", true, line{"", clients("per_s")})
	latency, err2 := panel("Latency against load", "clients, each waiting for a session", "create to Assigned, ms", true, line{"p50", clients("p50_ms")}, line{"p99", clients("p99_ms")})
	memory, err3 := panel("Memory against the fleet's size", "hosts, with 8 sessions each", "peak resident memory, MB", false, line{"", hosts("peak_mb")})
	cost, err4 := panel("Processor and latency against the fleet's size", "hosts, with 8 sessions each", "thousandths of a core at rest; ms", false,
		line{"processor at rest", hosts("cpu_millicores")}, line{"p99 to Assigned", hosts("p99_ms")})
	return [][]*plot.Plot{{throughput, latency}, {memory, cost}}, errors.Join(err1, err2, err3, err4)
}

// colors can be told apart in both themes of a page, and by those who see few.
var colors = []color.Color{color.RGBA{R: 0x00, G: 0x72, B: 0xb2, A: 0xff}, color.RGBA{R: 0xd5, G: 0x5e, B: 0x00, A: 0xff}}

// panel makes one panel; its lines begin at zero.
func panel(title, x, y string, doubling bool, lines ...line) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Y.Min = 0
	p.Add(plotter.NewGrid())
	var ticks []plot.Tick
	for i, l := range lines {
		if len(l.points) == 0 {
			continue
		}
		drawn, points, err := plotter.NewLinePoints(l.points)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", title, err)
		}
		drawn.Color, drawn.Width, points.Color, points.Shape = colors[i], vg.Points(2), colors[i], draw.CircleGlyph{}
		p.Add(drawn, points)
		if l.name != "" {
			p.Legend.Add(l.name, drawn, points)
		}
		ticks = ticks[:0]
		for _, at := range l.points {
			ticks = append(ticks, plot.Tick{Value: at.X, Label: strconv.Itoa(int(at.X))})
		}
	}
	p.Legend.Top, p.Legend.Left = true, true
	if len(ticks) > 0 {
		p.X.Tick.Marker = plot.ConstantTicks(ticks)
		if doubling {
			p.X.Scale = plot.LogScale{}
		}
	}
	return p, nil
}

// write draws the panels into an SVG file.
func write(name string, panels [][]*plot.Plot) (err error) {
	canvas := vgsvg.New(25*vg.Centimeter, 18*vg.Centimeter)
	tiles := draw.Tiles{Rows: len(panels), Cols: len(panels[0]), PadX: 8 * vg.Millimeter, PadY: 8 * vg.Millimeter,
		PadTop: 4 * vg.Millimeter, PadBottom: 4 * vg.Millimeter, PadLeft: 4 * vg.Millimeter, PadRight: 4 * vg.Millimeter}
	for i, row := range plot.Align(panels, tiles, draw.New(canvas)) {
		for j, at := range row {
			panels[i][j].Draw(at)
		}
	}
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	_, err = canvas.WriteTo(file)
	return err
}
