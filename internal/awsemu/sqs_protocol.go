// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package awsemu

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// sqsProtocol is AWS JSON 1.0 as SQS speaks it since 2023, with the codes of its
// older Query protocol in a header, which the SDKs prefer:
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-json-api-responses.html
type sqsProtocol struct{}

const sqsContentType = "application/x-amz-json-1.0"

func (sqsProtocol) result(c *call, value any) (answer, error) {
	out, err := jsonProtocol{}.result(c, value)
	out.contentType = sqsContentType
	return out, err
}

func (sqsProtocol) failure(_ *call, e *apiError) answer {
	body, err := json.Marshal(map[string]any{"__type": "com.amazonaws.sqs#" + e.Code, "message": e.Message})
	if err != nil {
		return answer{status: http.StatusInternalServerError, contentType: "text/plain", body: []byte(err.Error())}
	}
	code, fault := e.QueryCode, "Sender"
	if code == "" {
		code = e.Code
	}
	if e.status() >= http.StatusInternalServerError {
		fault = "Receiver"
	}
	return answer{status: e.status(), contentType: sqsContentType, queryError: code + ";" + fault, body: body}
}

func (sqsProtocol) unknown(name string) *apiError {
	return refuse("UnknownOperationException", "The operation %s is not known to this service.", name)
}

func (sqsProtocol) throttled() *apiError {
	return &apiError{Code: "RequestThrottled", Message: "Request was throttled.", Status: http.StatusForbidden}
}

// sqsRefusal is an error that the Query protocol calls AWS.SimpleQueueService.<code>.
func sqsRefusal(shape, code, format string, args ...any) *apiError {
	return &apiError{
		Code: shape, QueryCode: "AWS.SimpleQueueService." + code, Message: fmt.Sprintf(format, args...),
	}
}

// sqsInvalid refuses the value of a parameter.
func sqsInvalid(value any, parameter, reason string) *apiError {
	return refuse("InvalidParameterValue", "Value %v for parameter %s is invalid. Reason: %s", value, parameter, reason)
}
