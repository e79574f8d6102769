# Second phase: AWS looks the name up and refuses unless it leads to the address.
resource "aws_eip_domain_name" "this" {
  count = var.mail_host == null ? 0 : 1

  allocation_id = local.allocation_id
  domain_name   = var.mail_host
}

locals {
  # By these names and addresses the world finds the domain's name servers. ns1 leads to the box while
  # it is there, ns2 always to the relay's copies; without an IPv4 address of its own, ns2 has ns1's.
  name_servers = length(var.zones) == 0 ? {} : {
    ns1 = [local.public_ipv4, local.public_ipv6]
    ns2 = [coalesce(local.second_public_ipv4, local.public_ipv4), local.second_public_ipv6]
  }
}

# Adopts a domain that is registered; destroying forgets it and leaves it registered.
resource "aws_route53domains_registered_domain" "this" {
  count = var.registered_domain == null ? 0 : 1

  domain_name   = var.registered_domain
  auto_renew    = true
  transfer_lock = true

  dynamic "name_server" {
    for_each = local.name_servers
    content {
      name     = "${name_server.key}.${var.registered_domain}"
      glue_ips = name_server.value
    }
  }

  tags = local.tags
}

resource "aws_route53domains_delegation_signer_record" "this" {
  count = var.dnssec_key == null ? 0 : 1

  domain_name = aws_route53domains_registered_domain.this[0].domain_name

  signing_attributes {
    algorithm  = var.dnssec_key.algorithm
    flags      = var.dnssec_key.flags
    public_key = var.dnssec_key.public_key
  }
}
