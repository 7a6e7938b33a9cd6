package httpapi

// Codes returns the code of every error that the API knows.
func Codes() []string {
	codes := []string{describe(nil).Code}
	for _, p := range problems {
		codes = append(codes, p.Code)
	}
	return codes
}

// DecodeVerify and DecodeEnroll read the body of a request.
func DecodeVerify(body []byte) error {
	var code string
	var given bool
	return decode(body, codeText("code", &code, &given))
}

func DecodeEnroll(body []byte) error {
	_, err := enrollParams(body)
	return err
}
