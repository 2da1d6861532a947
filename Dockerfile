# Two images: signalrd, the server, and web, nginx with the page. docker compose
# builds both; docker build --target signalrd . the first alone.

FROM golang:1.26.10-alpine AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /signalrd ./cmd/signalrd

# The server alone, and the authorities that it trusts: for rediss:// and
# --jwt-jwks=https://.
FROM scratch AS signalrd
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /signalrd /signalrd
USER 65532:65532
ENTRYPOINT ["/signalrd"]
HEALTHCHECK --interval=5s --start-period=10s CMD ["/signalrd", "health"]

FROM node:22.22.2-alpine AS page
WORKDIR /src
COPY clients/js/package.json clients/js/package-lock.json ./
RUN npm ci
COPY clients/js/ ./
RUN npm run build

FROM nginx:1.28.2-alpine AS web
COPY --from=page /src/dist/ /usr/share/nginx/html/
