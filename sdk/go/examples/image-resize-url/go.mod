module image-resize-url

go 1.24

require bext v0.0.0

replace bext => ../..
