locals {
  tags = merge(var.tags, { Name = var.name })
  # The first four addresses and the last one of a subnet are AWS's.
  private_ipv4        = cidrhost(var.vpc_cidr, 10)
  second_private_ipv4 = cidrhost(var.vpc_cidr, 11)
}

resource "aws_vpc" "this" {
  cidr_block                       = var.vpc_cidr
  assign_generated_ipv6_cidr_block = true
  enable_dns_hostnames             = true
  enable_dns_support               = true
  tags                             = local.tags
}

# Whatever ends up in it is cut off.
resource "aws_default_security_group" "this" {
  vpc_id = aws_vpc.this.id
  tags   = local.tags
}

resource "aws_subnet" "this" {
  vpc_id                          = aws_vpc.this.id
  cidr_block                      = var.vpc_cidr
  ipv6_cidr_block                 = cidrsubnet(aws_vpc.this.ipv6_cidr_block, 8, 0)
  availability_zone               = var.availability_zone
  assign_ipv6_address_on_creation = false
  map_public_ip_on_launch         = false
  tags                            = local.tags
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id
  tags   = local.tags
}

resource "aws_route_table" "this" {
  vpc_id = aws_vpc.this.id
  tags   = local.tags
}

resource "aws_route" "ipv4" {
  route_table_id         = aws_route_table.this.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this.id
}

resource "aws_route" "ipv6" {
  route_table_id              = aws_route_table.this.id
  destination_ipv6_cidr_block = "::/0"
  gateway_id                  = aws_internet_gateway.this.id
}

resource "aws_route_table_association" "this" {
  route_table_id = aws_route_table.this.id
  subnet_id      = aws_subnet.this.id
}

# The second guard: the relay's own rules say the same, but rules that fail to load stop nothing.
resource "aws_security_group" "this" {
  name        = "${var.name}-relay"
  description = "Mail, web, DNS and the tunnel of a Roost relay"
  vpc_id      = aws_vpc.this.id
  tags        = local.tags

  lifecycle {
    create_before_destroy = true
  }
}

locals {
  families = {
    ipv4 = { ipv4 = "0.0.0.0/0", ipv6 = null, icmp = "icmp" }
    ipv6 = { ipv4 = null, ipv6 = "::/0", icmp = "icmpv6" }
  }
  inbound = merge(
    { for port in concat([53], module.userdata.tcp_ports) : "tcp-${port}" => { protocol = "tcp", port = port } },
    { udp-53 = { protocol = "udp", port = 53 }, wireguard = { protocol = "udp", port = var.wireguard_port } },
    # All of it: without "too big" messages, connections hang.
    { icmp = { protocol = "icmp", port = -1 } },
  )
  outbound = {
    tcp-25  = { protocol = "tcp", from = 25, to = 25 }
    tcp-80  = { protocol = "tcp", from = 80, to = 80 }
    tcp-443 = { protocol = "tcp", from = 443, to = 443 }
    # The tunnel, when the relay speaks first, to whatever port the home router has chosen; and time.
    udp  = { protocol = "udp", from = 1, to = 65535 }
    icmp = { protocol = "icmp", from = -1, to = -1 }
  }
  inbound_rules = merge([
    for family, range in local.families : { for name, rule in local.inbound : "${name}-${family}" => merge(rule, range) }
  ]...)
  outbound_rules = merge([
    for family, range in local.families : {
      for name, rule in local.outbound : "${name}-${family}" => merge(rule, range)
      # EC2's IPv6 addresses have no PTR, so mail leaves over IPv4 only.
      if !(name == "tcp-25" && family == "ipv6")
    }
  ]...)
}

resource "aws_vpc_security_group_ingress_rule" "this" {
  for_each = local.inbound_rules

  security_group_id = aws_security_group.this.id
  description       = each.key
  ip_protocol       = each.value.protocol == "icmp" ? each.value.icmp : each.value.protocol
  from_port         = each.value.port
  to_port           = each.value.port
  cidr_ipv4         = each.value.ipv4
  cidr_ipv6         = each.value.ipv6
  tags              = merge(local.tags, { Name = "${var.name} ${each.key}" })
}

resource "aws_vpc_security_group_egress_rule" "this" {
  for_each = local.outbound_rules

  security_group_id = aws_security_group.this.id
  description       = each.key
  ip_protocol       = each.value.protocol == "icmp" ? each.value.icmp : each.value.protocol
  from_port         = each.value.from
  to_port           = each.value.to
  cidr_ipv4         = each.value.ipv4
  cidr_ipv6         = each.value.ipv6
  tags              = merge(local.tags, { Name = "${var.name} ${each.key}" })
}

# Interface and addresses outlive the instance. The lists have an order, which the plain sets of
# addresses have not: the first is the one that outgoing mail comes from.
resource "aws_network_interface" "this" {
  subnet_id                 = aws_subnet.this.id
  description               = "${var.name} relay"
  security_groups           = [aws_security_group.this.id]
  private_ip_list_enabled   = true
  private_ip_list           = concat([local.private_ipv4], var.second_elastic_ip ? [local.second_private_ipv4] : [])
  ipv6_address_list_enabled = true
  ipv6_address_list = [
    for host in concat([16], length(var.zones) > 0 ? [83] : []) : cidrhost(aws_subnet.this.ipv6_cidr_block, host)
  ]
  tags = local.tags
}

resource "aws_eip" "this" {
  count = var.elastic_ip_allocation_id == null ? 1 : 0

  domain = "vpc"
  tags   = local.tags

  depends_on = [aws_internet_gateway.this]

  lifecycle {
    # An address that is given back for a better one must not come back as that one.
    create_before_destroy = true
  }
}

data "aws_eip" "own" {
  count = var.elastic_ip_allocation_id == null ? 0 : 1

  id = var.elastic_ip_allocation_id
}

resource "aws_eip" "second" {
  count = var.second_elastic_ip ? 1 : 0

  domain = "vpc"
  tags   = merge(local.tags, { Name = "${var.name} ns2" })

  depends_on = [aws_internet_gateway.this]
}

locals {
  allocation_id      = one(concat(aws_eip.this[*].allocation_id, data.aws_eip.own[*].id))
  public_ipv4        = one(concat(aws_eip.this[*].public_ip, data.aws_eip.own[*].public_ip))
  second_public_ipv4 = one(aws_eip.second[*].public_ip)
  public_ipv6        = cidrhost(aws_subnet.this.ipv6_cidr_block, 16)
  second_public_ipv6 = length(var.zones) > 0 ? cidrhost(aws_subnet.this.ipv6_cidr_block, 83) : null
}

resource "aws_eip_association" "this" {
  allocation_id        = local.allocation_id
  network_interface_id = aws_network_interface.this.id
  private_ip_address   = local.private_ipv4
}

resource "aws_eip_association" "second" {
  count = var.second_elastic_ip ? 1 : 0

  allocation_id        = aws_eip.second[0].allocation_id
  network_interface_id = aws_network_interface.this.id
  private_ip_address   = local.second_private_ipv4
}
