package interop

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/akv-ekm/ekm/aad"
	"github.com/akv-ekm/ekm/akv"
)

// Options.Wrap puts OpenTelemetry's instrumentation around the client's transport,
// whose limits and proxy remain. Each request has a span, named after the operation.
func Example_openTelemetry() {
	spans := tracetest.NewInMemoryExporter() // in place of a collector
	tracing := trace.NewTracerProvider(trace.WithSyncer(spans))

	cred, err := aad.NewClientSecret("00000000-0000-0000-0000-000000000001", "from a safe place")
	if err != nil {
		log.Fatal(err)
	}
	client, err := akv.NewClient("contoso", cred, &akv.Options{
		Transport: offline{}, // in place of the network
		Wrap: func(next http.RoundTripper) http.RoundTripper {
			return otelhttp.NewTransport(next, otelhttp.WithTracerProvider(tracing),
				otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return akv.Operation(r.Context()) }))
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	ctx, span := tracing.Tracer("program").Start(context.Background(), "start the database")
	if _, err := client.GetKey(ctx, "tde", ""); err != nil {
		log.Fatal(err)
	}
	span.End()

	for _, s := range spans.GetSpans() {
		status := ""
		for _, a := range s.Attributes {
			if a.Key == "http.response.status_code" {
				status = a.Value.Emit()
			}
		}
		fmt.Println(s.Name, status, s.SpanContext.TraceID() == span.SpanContext().TraceID())
	}
	// Output:
	// getKey 401 true
	// acquireToken 200 true
	// getKey 200 true
	// start the database  true
}

// offline answers as a vault with one key, and as Entra ID.
type offline struct{}

func (offline) RoundTrip(r *http.Request) (*http.Response, error) {
	status, header := http.StatusOK, http.Header{"Content-Type": {"application/json"}}
	body := `{"key":{"kid":"https://contoso.vault.azure.net/keys/tde/1","kty":"EC","crv":"P-256",` +
		`"x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}}`
	switch {
	case strings.HasSuffix(r.URL.Path, "/token"):
		body = `{"token_type":"Bearer","expires_in":3599,"access_token":"a-token"}`
	case r.Header.Get("Authorization") == "":
		status, body = http.StatusUnauthorized, ""
		header.Set("WWW-Authenticate", `Bearer authorization="https://login.microsoftonline.com/contoso.onmicrosoft.com", resource="https://vault.azure.net"`)
	}
	return &http.Response{
		StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: r,
	}, nil
}
