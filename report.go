// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package dpop

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-dpop/caddy-dpop/proof"
	"github.com/caddy-dpop/caddy-dpop/token"
)

// report tells operators about a refusal, enforced or not: placeholders and
// one log line. Neither ever holds a token or a proof.
func (h *Handler) report(c *check, reason Reason, answer refusal, err error) {
	h.publishRefusal(c, reason, answer)

	level := zapcore.InfoLevel
	if answer.status >= http.StatusInternalServerError {
		level = zapcore.ErrorLevel
	}
	if entry := h.logger.Check(level, "request refused"); entry != nil {
		entry.Write(h.refusalFields(c, reason, answer, err)...)
	}
	if span := trace.SpanFromContext(c.r.Context()); span.IsRecording() {
		span.SetAttributes(attribute.String("dpop.reason", string(reason)), attribute.String("dpop.error", answer.code))
	}
	switch reason {
	case ReasonReplayed:
		h.emitReplay(c)
	case Reason(proof.ReasonHTUMismatch), ReasonHostUnknown:
		h.adviseProxy(c.r)
	default:
	}
}

// emitReplay tells subscribers of the event dpop_replay_detected: the same
// proof came again, so somebody may have got hold of it.
func (h *Handler) emitReplay(c *check) {
	if h.events == nil || !h.events.ShouldEmit(replayEvent) {
		return
	}
	data := map[string]any{
		"jkt":       c.proof.Header.Thumbprint(),
		"client_ip": clientIP(c.r),
		"method":    c.r.Method,
		"host":      c.r.Host,
	}
	if c.claims != nil {
		data["sub"], data["client_id"], data["issuer"] = c.claims.Subject, c.claims.ClientID, c.claims.Issuer
	}
	h.events.Emit(h.ctx, replayEvent, data)
}

const replayEvent = "dpop_replay_detected"

// provisionReporting prepares what refusals are reported to. Under attack the
// log keeps the first lines of each second and then one in a hundred; the
// metrics count all.
func (h *Handler) provisionReporting(ctx caddy.Context) error {
	h.ctx = ctx
	h.logger = ctx.Logger().WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(core, time.Second, logFirst, logThereafter)
	}))
	events, err := ctx.App("events")
	if err != nil {
		return fmt.Errorf("loading the events app: %w", err)
	}
	h.events = events.(*caddyevents.App)
	return nil
}

// How many lines about refusals one handler writes: so many in a second, then
// one of so many.
const (
	logFirst      = 500
	logThereafter = 100
)

func clientIP(r *http.Request) string {
	ip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return ip
}

func (h *Handler) refusalFields(c *check, reason Reason, answer refusal, err error) []zap.Field {
	fields := []zap.Field{
		zap.String("reason", string(reason)),
		zap.Int("status", answer.status),
		zap.String("error", answer.code),
		zap.String("client_ip", clientIP(c.r)),
		zap.String("method", c.r.Method),
		zap.String("host", c.r.Host),
		zap.Bool("monitor", h.Mode == wordMonitor),
	}
	if c.proof != nil {
		fields = append(fields,
			zap.String("jkt", c.proof.Header.Thumbprint()),
			zap.Duration("clock_offset", c.proof.Offset(c.now)))
	}
	if h.logger.Core().Enabled(zapcore.DebugLevel) {
		fields = append(fields, h.comparedFields(c, reason, err)...)
	}
	if cause := errors.Unwrap(err); cause != nil {
		fields = append(fields, zap.NamedError("cause", cause))
	}
	return fields
}

// comparedFields are what the client or its token says beside what is expected,
// where that is what anybody looking into it wants to see. The values are
// theirs, so they are for debug logs only.
func (h *Handler) comparedFields(c *check, reason Reason, err error) []zap.Field {
	switch reason {
	case Reason(proof.ReasonHTUMismatch):
		if perr, ok := errors.AsType[*proof.Error](err); ok {
			return []zap.Field{zap.String("htu_claimed", perr.Claimed), zap.String("htu_expected", perr.Target)}
		}
	case Reason(token.IssuerUnknown):
		if c.claims != nil { // of an introspection
			return []zap.Field{zap.String("iss_claimed", c.claims.Issuer), zap.Strings("iss_expected", []string{c.source.policy.Issuer})}
		}
		var expected []string
		for _, s := range h.sources {
			expected = append(expected, s.policy.Issuer)
		}
		claimed, _ := token.PeekIssuer(c.credentials.token) // nobody has verified it
		return []zap.Field{zap.String("iss_claimed", claimed[:min(len(claimed), maxLogged)]), zap.Strings("iss_expected", expected)}
	case Reason(token.AudienceMismatch):
		return []zap.Field{zap.Strings("aud_claimed", c.claims.Audience), zap.Strings("aud_expected", c.source.policy.Audiences)}
	case Reason(token.ScopeMissing):
		return []zap.Field{zap.Strings("scope_claimed", c.claims.Scopes), zap.Strings("scope_expected", c.source.policy.Scopes)}
	default:
	}
	return nil
}

// maxLogged bounds what is logged of a text that anybody can send.
const maxLogged = 256
