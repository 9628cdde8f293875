// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"reflect"
	"strings"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-dpop/caddy-dpop/proof"
)

// The host rule. A counterfeit server that lures a client can pass the
// client's proof on to us and send its own name in Host. So without a
// `public_url` a handler must stand in a site whose hosts are exact names.
// A handler cannot see its own route, so the app looks for it in all routes,
// in Start or at the first request, whichever comes first.

// siteHosts are the exact names of the site that a handler stands in.
type siteHosts struct {
	any   bool // `public_url any`
	exact map[string]bool

	// known spares requests from parsing what others have sent. A map is
	// never changed, but replaced by one that has more.
	known atomic.Pointer[map[namedHost]proof.Origin]
}

type namedHost struct{ scheme, host string }

// These bound the spellings of Host (ports, letter case) that are kept: clients
// choose them.
const (
	maxKnownHosts    = 256
	maxKnownHostSize = 256
)

func (s *siteHosts) origin(scheme, host string) (proof.Origin, error) {
	known := s.known.Load()
	if known != nil {
		if o, ok := (*known)[namedHost{scheme, host}]; ok {
			return o, nil
		}
	}
	o, err := proof.ParseOrigin(scheme + "://" + host)
	if err != nil {
		return o, err
	}
	if strings.ContainsRune(host, '/') {
		return o, errors.New("host with a path")
	}
	if !s.any && !s.exact[hostname(o.Host())] {
		return o, errors.New("not a host of this site")
	}
	if len(host) <= maxKnownHostSize {
		s.remember(known, namedHost{scheme, strings.Clone(host)}, o)
	}
	return o, nil
}

func (s *siteHosts) remember(known *map[namedHost]proof.Origin, name namedHost, o proof.Origin) {
	more := make(map[namedHost]proof.Origin)
	if known != nil {
		if len(*known) == maxKnownHosts {
			return
		}
		maps.Copy(more, *known)
	}
	more[name] = o
	s.known.CompareAndSwap(known, &more) // whoever comes second parses once more
}

// hostname cuts the port off.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.Trim(host, "[]")
}

// checkHosts finds the site of every handler and refuses those whose hosts
// are not exact.
func (a *App) checkHosts() error {
	a.hosts.Do(func() { a.hostsErr = a.findHosts() })
	return a.hostsErr
}

func (a *App) findHosts() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var dependent []*Handler
	for _, h := range a.handlers {
		h.site.any = isAny(h.PublicURLs)
		if len(h.PublicURLs) == 0 {
			dependent = append(dependent, h)
		}
	}
	app, err := a.ctx.AppIfConfigured("http")
	if err != nil {
		return fmt.Errorf("looking for the hosts of dpop: %w", err)
	}
	w := walk{
		found: make(map[*Handler]*siteHosts), open: make(map[*Handler]bool),
		rewritten: make(map[*Handler]bool), invoked: make(map[invocation]bool),
	}
	for _, server := range app.(*caddyhttp.App).Servers {
		w.named = server.NamedRoutes
		w.routes(server.Routes, nil)
		if server.Errors != nil {
			w.routes(server.Errors.Routes, nil)
		}
	}
	a.rewritten = w.rewritten
	for _, h := range dependent {
		site := w.found[h]
		if site == nil || w.open[h] {
			return fmt.Errorf("dpop stands in a site that answers to any host or to a wildcard, so a proof made for another server could be passed on to it: add `public_url https://your.name` (or limit the site to exact hosts, or accept what Host says with `public_url any`)")
		}
		h.site.exact = site.exact
	}
	return nil
}

// walk looks for handlers in a tree of routes and keeps what host matchers
// let through on the way.
type walk struct {
	named map[string]*caddyhttp.Route
	found map[*Handler]*siteHosts
	open  map[*Handler]bool // seen where no exact host is needed

	rewritten map[*Handler]bool // matched by a path that an earlier route rewrites
	behind    bool              // an earlier route of this list rewrites paths

	invoked map[invocation]bool
}

// invocation is a named route with all that matters to what is found in it. None is
// walked through twice, so those that invoke each other end, however deep they are.
type invocation struct {
	route  *caddyhttp.Route
	any    bool
	hosts  string
	behind bool
}

func (w *walk) routes(routes caddyhttp.RouteList, hosts []string) {
	before := w.behind
	for i := range routes {
		w.route(&routes[i], hosts)
		w.behind = w.behind || rewrites(&routes[i])
	}
	w.behind = before
}

// route descends with the hosts that can reach it; nil means any.
func (w *walk) route(r *caddyhttp.Route, hosts []string) {
	if exact, ok := exactHosts(r.MatcherSets); ok {
		hosts = exact
	}
	for _, handler := range r.Handlers {
		if h, ok := handler.(*Handler); ok && w.behind && matchesPath(r.MatcherSets) {
			w.rewritten[h] = true
		}
		w.handler(handler, hosts)
	}
}

func (w *walk) handler(handler any, hosts []string) {
	switch handler := handler.(type) {
	case *Handler:
		w.note(handler, hosts)
	case *caddyhttp.Invoke:
		route := w.named[handler.Name]
		call := invocation{route, hosts == nil, strings.Join(hosts, " "), w.behind}
		if route != nil && !w.invoked[call] {
			w.invoked[call] = true
			w.route(route, hosts)
		}
	default:
		w.fields(reflect.ValueOf(handler), hosts)
	}
}

// fields finds the routes that other handlers hold, such as subroutes and
// what reverse_proxy and intercept do with responses.
func (w *walk) fields(v reflect.Value, hosts []string) {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return
	}
	for i := range v.NumField() {
		if v.Type().Field(i).IsExported() {
			w.field(v.Field(i), hosts)
		}
	}
}

func (w *walk) field(v reflect.Value, hosts []string) {
	switch value := v.Interface().(type) {
	case caddyhttp.RouteList:
		w.routes(value, hosts)
	case []caddyhttp.ResponseHandler:
		for _, h := range value {
			w.routes(h.Routes, hosts)
		}
	case *caddyhttp.Subroute:
		if value != nil {
			w.handler(value, hosts)
		}
	case *caddyhttp.HTTPErrorConfig:
		if value != nil {
			w.routes(value.Routes, hosts)
		}
	}
}

func (w *walk) note(h *Handler, hosts []string) {
	if hosts == nil {
		w.open[h] = true
		return
	}
	site := w.found[h]
	if site == nil {
		site = &siteHosts{exact: make(map[string]bool)}
		w.found[h] = site
	}
	for _, host := range hosts {
		site.exact[strings.ToLower(strings.Trim(host, "[]"))] = true
	}
}

// exactHosts are the hosts that a list of matcher sets lets through. Sets are
// alternatives, so each of them must name exact hosts.
func exactHosts(sets caddyhttp.MatcherSets) (hosts []string, ok bool) {
	if len(sets) == 0 {
		return nil, false
	}
	for _, set := range sets {
		exact := exactHostsOf(set)
		if exact == nil {
			return nil, false
		}
		hosts = append(hosts, exact...)
	}
	return hosts, true
}

func exactHostsOf(set caddyhttp.MatcherSet) []string {
	for _, matcher := range set {
		var hosts []string
		switch m := matcher.(type) {
		case *caddyhttp.MatchHost:
			hosts = *m
		case caddyhttp.MatchHost:
			hosts = m
		default:
			continue
		}
		for _, host := range hosts {
			if strings.ContainsAny(host, "*{") {
				return nil
			}
		}
		return hosts
	}
	return nil
}
