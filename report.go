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
	if perr, ok := errors.AsType[*proof.Error](err); ok && perr.Claimed != "" && h.logger.Core().Enabled(zapcore.DebugLevel) {
		fields = append(fields,
			zap.String("htu_claimed", perr.Claimed),
			zap.String("htu_expected", perr.Target))
	}
	if cause := errors.Unwrap(err); cause != nil {
		fields = append(fields, zap.NamedError("cause", cause))
	}
	return fields
}
