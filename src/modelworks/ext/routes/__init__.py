"""Proxies that can carry routes: Envoy, HAProxy, nginx, Traefik."""
