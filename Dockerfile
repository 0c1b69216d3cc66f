# The manager, as a static binary and nobody's user.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
ARG TARGETOS TARGETARCH
WORKDIR /src

# The libraries are a layer of their own, which a change of the code leaves alone.
COPY go.mod go.sum ./
RUN go mod download

COPY main.go ./
COPY api api
COPY controllers controllers
COPY config config
COPY internal internal
ARG VERSION=dev
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -tags shipped,grpcnotrace -trimpath \
    -ldflags "-s -w -X github.com/mandelbox/mandelbox-operator/internal/cli.version=$VERSION" \
    -o /mandelbox-operator .

FROM gcr.io/distroless/static:nonroot
COPY --from=build /mandelbox-operator /mandelbox-operator
USER 65532:65532
ENTRYPOINT ["/mandelbox-operator"]
CMD ["manager"]
