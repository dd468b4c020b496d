module bext

go 1.24
