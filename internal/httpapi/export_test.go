package httpapi

// Codes returns the code of every error that the API knows.
func Codes() []string {
	_, internal, _ := describe(nil)
	codes := []string{internal.Code}
	for _, p := range problems {
		codes = append(codes, p.code)
	}
	return codes
}

// DecodeVerify and DecodeEnroll read the body of a request.
func DecodeVerify(body []byte) error { return decode(body, &verifyRequest{}) }
func DecodeEnroll(body []byte) error { return decode(body, &enrollRequest{}) }
