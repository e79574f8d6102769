data "aws_region" "current" {}

data "aws_partition" "current" {}

data "aws_ssm_parameter" "ami" {
  count = var.ami_id == null ? 1 : 0

  name = var.ami_parameter
}

# The secrets. Write-only: Terraform hands them over and keeps nothing.
resource "aws_ssm_parameter" "key" {
  name             = "/${var.name}/relay/wireguard-key"
  description      = "WireGuard private key of the relay"
  type             = "SecureString"
  value_wo         = var.relay_private_key
  value_wo_version = var.relay_private_key_version
  tags             = local.tags
}

resource "aws_ssm_parameter" "tsig" {
  count = length(var.zones) > 0 ? 1 : 0

  name             = "/${var.name}/relay/tsig-secret"
  description      = "Secret of the zone transfers from box to relay"
  type             = "SecureString"
  value_wo         = var.tsig_secret
  value_wo_version = var.tsig_secret_version
  tags             = local.tags
}

resource "aws_iam_role" "this" {
  name        = "${var.name}-relay-${data.aws_region.current.region}"
  description = "What the relay of Roost may do: read its own secrets"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })
  tags = local.tags
}

resource "aws_iam_role_policy" "secrets" {
  name = "secrets"
  role = aws_iam_role.this.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = "ssm:GetParameter"
      Resource = concat([aws_ssm_parameter.key.arn], aws_ssm_parameter.tsig[*].arn)
    }]
  })
}

# Not AmazonSSMManagedInstanceCore, which may read every parameter of the account.
resource "aws_iam_role_policy" "session_manager" {
  count = var.session_manager ? 1 : 0

  name = "session-manager"
  role = aws_iam_role.this.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect = "Allow"
      Action = [
        "ssm:UpdateInstanceInformation",
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
      ]
      Resource = "*"
    }]
  })
}

resource "aws_iam_instance_profile" "this" {
  name = aws_iam_role.this.name
  role = aws_iam_role.this.name
  tags = local.tags
}

module "userdata" {
  source = "./modules/userdata"

  box_public_key  = var.box_public_key
  region          = data.aws_region.current.region
  key_parameter   = aws_ssm_parameter.key.name
  tsig_parameter  = one(aws_ssm_parameter.tsig[*].name)
  zones           = var.zones
  tunnel_ipv4     = var.tunnel_ipv4
  tunnel_ipv6     = var.tunnel_ipv6
  tunnel_mtu      = var.tunnel_mtu
  wireguard_port  = var.wireguard_port
  public_ipv4     = [local.public_ipv4]
  second_ipv4     = var.second_elastic_ip ? [local.second_private_ipv4] : []
  second_ipv6     = length(var.zones) > 0 ? [local.second_public_ipv6] : []
  reboot_time     = var.reboot_time
  session_manager = var.session_manager
}

resource "aws_instance" "this" {
  ami                  = coalesce(var.ami_id, one(data.aws_ssm_parameter.ami[*].insecure_value))
  instance_type        = var.instance_type
  iam_instance_profile = aws_iam_instance_profile.this.name
  # The relay has no memory worth keeping: other settings, another instance.
  user_data                   = module.userdata.user_data
  user_data_replace_on_change = true
  ebs_optimized               = true
  tags                        = local.tags

  primary_network_interface {
    network_interface_id = aws_network_interface.this.id
  }

  root_block_device {
    volume_type           = "gp3"
    volume_size           = var.volume_gb
    encrypted             = true
    delete_on_termination = true
    tags                  = local.tags
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
    instance_metadata_tags      = "disabled"
  }

  maintenance_options {
    auto_recovery = "default"
  }

  # Unlimited credits, AWS's default, would be a bill without an upper end.
  dynamic "credit_specification" {
    for_each = startswith(var.instance_type, "t") ? ["standard"] : []
    content {
      cpu_credits = credit_specification.value
    }
  }

  lifecycle {
    # A newer Debian image must not replace a relay that somebody only wanted to give a PTR.
    ignore_changes = [ami]
  }

  # At its first start it needs its way to the internet, its addresses and its secrets.
  depends_on = [
    aws_route.ipv4,
    aws_route.ipv6,
    aws_route_table_association.this,
    aws_eip_association.this,
    aws_eip_association.second,
    aws_iam_role_policy.secrets,
    aws_iam_role_policy.session_manager,
    aws_vpc_security_group_egress_rule.this,
  ]
}
