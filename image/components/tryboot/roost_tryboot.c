// SPDX-License-Identifier: GPL-2.0-only
/*
 * Asks the Raspberry Pi's firmware to start the other slot once, at the next
 * restart ("tryboot"). Debian's kernel has the way to the firmware, but no
 * means for programs to send it this request.
 *
 * Writing 1 to /sys/module/roost_tryboot/parameters/request sends it; what the
 * firmware's driver answers goes back to the writer. Reading tells whether it
 * was sent since the kernel started. It cannot be taken back.
 */

#include <linux/kstrtox.h>
#include <linux/module.h>
#include <linux/of.h>
#include <soc/bcm2835/raspberrypi-firmware.h>

/* RPI_FIRMWARE_SET_REBOOT_FLAGS in the Raspberry Pi's own kernel; not in Linux. */
#define SET_REBOOT_FLAGS 0x00038064
/* The flag of that tag: the next start is one by the [tryboot] sections. */
#define TRYBOOT 1

static bool requested;

static int request(const char *text, const struct kernel_param *param)
{
	struct rpi_firmware *firmware = NULL;
	struct device_node *node;
	u32 flags = TRYBOOT;
	bool wanted;
	int error;

	error = kstrtobool(text, &wanted);
	if (error)
		return error;
	if (!wanted)
		return -EINVAL;

	node = of_find_compatible_node(NULL, NULL, "raspberrypi,bcm2835-firmware");
	if (node)
		firmware = rpi_firmware_get(node);
	of_node_put(node);
	if (!firmware)
		return -ENODEV;
	error = rpi_firmware_property(firmware, SET_REBOOT_FLAGS, &flags, sizeof(flags));
	rpi_firmware_put(firmware);
	if (!error)
		requested = true;
	return error;
}

static const struct kernel_param_ops request_ops = {
	.set = request,
	.get = param_get_bool,
};
module_param_cb(request, &request_ops, &requested, 0600);
MODULE_PARM_DESC(request, "write 1: the next restart tries the other slot");

MODULE_DESCRIPTION("One-shot trial boots on Raspberry Pi");
MODULE_LICENSE("GPL");
