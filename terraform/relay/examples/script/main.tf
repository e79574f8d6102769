# A relay on a machine that you rent elsewhere. Needs no provider and no account:
#   terraform apply && terraform output -raw script > relay.sh
# then run relay.sh there as root. It ends with the relay's WireGuard key, for the box.
variable "box_public_key" {
  description = "WireGuard public key of the box."
  type        = string
}

module "relay" {
  source = "../../modules/userdata"

  box_public_key = var.box_public_key
  zones          = ["example.org"]
  # Stays open: without it you would be locked out.
  ssh_port = 22
}

output "script" {
  value = module.relay.script
}
