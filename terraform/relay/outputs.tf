output "public_ipv4" {
  description = "The Elastic IP: A record of the mail host, and of ns1."
  value       = local.public_ipv4
}

output "public_ipv6" {
  description = "The same for IPv6."
  value       = local.public_ipv6
}

output "region" {
  description = "AWS region of the relay."
  value       = data.aws_region.current.region
}

output "allocation_id" {
  description = "Allocation of the Elastic IP, for AWS's form about port 25 and for elastic_ip_allocation_id."
  value       = local.allocation_id
}

output "name_servers" {
  description = "Names (before the domain) and addresses of the name servers, for glue at a registrar."
  value       = local.name_servers
}

output "endpoint" {
  description = "Where the box's tunnel connects to."
  value       = "${local.public_ipv4}:${var.wireguard_port}"
}

output "tunnel" {
  description = "What the box needs to know of the tunnel; tsig_name is the name of the key of zone transfers (hmac-sha256)."
  value = {
    relay_ipv4 = module.userdata.relay_ipv4
    relay_ipv6 = module.userdata.relay_ipv6
    box_ipv4   = module.userdata.box_ipv4
    box_ipv6   = module.userdata.box_ipv6
    mtu        = var.tunnel_mtu
    health     = "http://${module.userdata.relay_ipv4}:8077/"
    tsig_name  = length(var.zones) > 0 ? "roost-relay" : null
  }
}

output "box_text" {
  description = "The relay's text for the box, with RELAY_PUBLIC_KEY where the public half of relay_private_key belongs, which Terraform cannot compute."
  value = jsonencode({
    relay = {
      public_key = "RELAY_PUBLIC_KEY"
      endpoint   = "${local.public_ipv4}:${var.wireguard_port}"
      address4   = module.userdata.relay_ipv4
    }
    address4 = module.userdata.box_ipv4
    address6 = module.userdata.box_ipv6
    mtu      = var.tunnel_mtu
  })
}

output "reverse_name" {
  description = "Name to which the Elastic IP leads back, once it is set."
  value       = one(aws_eip_domain_name.this[*].ptr_record)
}

output "instance_id" {
  description = "The instance."
  value       = aws_instance.this.id
}

output "shell" {
  description = "Command for a shell on the relay."
  value       = var.session_manager ? "aws ssm start-session --region ${data.aws_region.current.region} --target ${aws_instance.this.id}" : null
}

output "user_data" {
  description = "What the instance is made from. Nothing in it is secret."
  value       = module.userdata.user_data
}
