// The OpenTelemetry Collector's own OTLP receiver, over HTTP and TLS: what it takes it writes to a file, a request a line, in OTLP's JSON.
//
//	collector HOST:PORT CERTIFICATE KEY FILE
//
// Debian has what it is built of from forky on (golang-go, golang-opentelemetry-collector-dev):
//
//	CGO_ENABLED=0 GO111MODULE=off GOPATH=/usr/share/gocode go build -o collector main.go
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"syscall"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	address, certificate, key, path := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	check(err)

	factory := otlpreceiver.NewFactory()
	config := factory.CreateDefaultConfig()
	check(confmap.NewFromStringMap(map[string]any{"protocols": map[string]any{"http": map[string]any{
		"endpoint": address, "tls": map[string]any{"cert_file": certificate, "key_file": key},
	}}}).Unmarshal(config))
	marshaler := plog.JSONMarshaler{}
	taken, err := consumer.NewLogs(func(_ context.Context, logs plog.Logs) error {
		text, err := marshaler.MarshalLogs(logs)
		if err == nil {
			_, err = file.Write(append(text, '\n'))
		}
		return err
	})
	check(err)
	receiver, err := factory.CreateLogs(context.Background(), receivertest.NewNopSettings(factory.Type()), config, taken)
	check(err)
	check(receiver.Start(context.Background(), componenttest.NewNopHost()))
	os.Stdout.WriteString("ready\n")

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	<-stop
	check(receiver.Shutdown(context.Background()))
}
