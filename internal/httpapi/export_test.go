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

// Routes returns the patterns of the routes that need an API key.
func (a *API) Routes() (all []string) {
	for _, r := range a.needs.All() {
		all = append(all, r.Pattern)
	}
	return all
}
