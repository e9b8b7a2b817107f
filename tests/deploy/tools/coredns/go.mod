module esker.invalid/deploy/coredns

go 1.26.4

require github.com/coredns/coredns v1.14.7
