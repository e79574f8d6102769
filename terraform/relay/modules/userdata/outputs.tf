output "user_data" {
  description = "The cloud-init user data. Nothing in it is secret."
  value       = local.user_data
  precondition {
    condition     = local.bytes < 16384
    error_message = "The user data has ${local.bytes} bytes, and EC2 takes 16,384: name fewer zones."
  }
}

output "script" {
  description = "The same as a shell script, for a Debian machine without cloud-init. Nothing in it is secret."
  value       = local.script
}

output "files" {
  description = "The files themselves: path, mode and content."
  value       = local.files
}

output "tcp_ports" {
  description = "TCP ports that lead to the box, DNS not among them."
  value       = local.tcp_ports
}

output "relay_ipv4" {
  description = "The relay's address inside the tunnel."
  value       = local.relay4
}

output "relay_ipv6" {
  description = "The relay's address inside the tunnel."
  value       = local.relay6
}

output "box_ipv4" {
  description = "The box's address inside the tunnel."
  value       = local.box4
}

output "box_ipv6" {
  description = "The box's address inside the tunnel."
  value       = local.box6
}
