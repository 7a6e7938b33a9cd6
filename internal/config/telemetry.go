package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
)

// checkTelemetry reports the faults of the settings of OpenTelemetry. Errors do not repeat the endpoint,
// which may contain a secret.
func (c Config) checkTelemetry() error {
	var errs []error
	if !(c.OTLPSampleRatio >= 0 && c.OTLPSampleRatio <= 1) { // NaN is neither
		errs = append(errs, fmt.Errorf("--otlp-sample-ratio is %v; it must be from 0 to 1", c.OTLPSampleRatio))
	}
	if c.OTLPEndpoint == "" {
		if c.OTLPHeadersFile != "" {
			errs = append(errs, errors.New("--otlp-headers-file needs an --otlp-endpoint"))
		}
		return errors.Join(errs...)
	}
	u, err := url.Parse(c.OTLPEndpoint)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		errs = append(errs, errors.New("--otlp-endpoint is not an http or https URL, such as http://localhost:4318"))
	case u.User != nil:
		errs = append(errs, errors.New("--otlp-endpoint has a password; put it into --otlp-headers-file"))
	case u.RawQuery != "" || u.Fragment != "":
		errs = append(errs, errors.New("--otlp-endpoint has a query or a fragment; give the base URL, to which /v1/traces is added"))
	case u.Scheme == "http" && c.OTLPHeadersFile != "" && !IsLocal(net.JoinHostPort(u.Hostname(), "0")):
		errs = append(errs, fmt.Errorf("the headers of --otlp-headers-file would cross the network unencrypted to %s; give an https URL", u.Host))
	}
	return errors.Join(errs...)
}
